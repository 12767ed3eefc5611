//! A query: planned once, checked to be row-wise, run on batch after batch.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::compute::{CastOptions, cast_with_options};
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::spec::timestamp;
use alluvium_engine::stage::DIFF;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::StreamExt;

use crate::carry::{carry, origins, untouched};
use crate::functions;
use crate::refused::{Refused, refuse};
use crate::slot::Slot;

/// The only table.
const INPUT: &str = "input";
/// Output of more rows comes in several batches.
const BATCH_ROWS: usize = 65_536;
/// A kept plan gathers metrics with every run, some kilobytes; they are thrown away after this many.
const RUNS_PER_RESET: u32 = 32;
/// The plans that are allowed never wait; one that does would block its worker.
const MOST_IDLE_POLLS: u32 = 1_000;

/// A query that can run.
pub struct Query {
    slot: Slot,
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    schema: SchemaRef,
    /// For each column the input's column that it is, if it is one.
    origins: Vec<Option<String>>,
    runs: u32,
}

impl Query {
    /// Plans a query over rows of this schema. No I/O.
    ///
    /// # Errors
    /// Why it cannot be a stage: SQL that is not valid, an unknown column, more than one row needed.
    pub fn plan(sql: &str, input: &SchemaRef) -> Result<Self, Refused> {
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
        let context = SessionContext::new_with_config(config);
        functions::register(&context);
        let slot = Slot::new(input.clone());
        context.register_table(INPUT, Arc::new(slot.clone())).map_err(|e| refuse(e, input))?;
        // Nothing here waits: tables and functions are in memory.
        let select = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = futures::executor::block_on(context.sql_with_options(sql, select)).map_err(|e| refuse(e, input))?;
        row_wise(frame.logical_plan())?;
        let (state, mut logical) = frame.into_parts();
        if input.index_of(DIFF).is_ok() {
            untouched(&logical)?;
            logical = carry(logical).map_err(|e| refuse(e, input))?;
        }
        let origins = origins(&logical);
        let plan = futures::executor::block_on(state.create_physical_plan(&logical)).map_err(|e| refuse(e, input))?;
        let fields: Vec<Field> =
            plan.schema().fields().iter().map(|f| Field::new(f.name(), normal(f.data_type()), true)).collect();
        Ok(Self { slot, plan, task: context.task_ctx(), schema: Arc::new(Schema::new(fields)), origins, runs: 0 })
    }

    /// Columns of the output, in the types that tables keep.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The columns of the input that it needs.
    pub fn reads(&self) -> Vec<String> {
        let mut leaf = &self.plan;
        while let Some(child) = leaf.children().first() {
            leaf = child;
        }
        leaf.schema().fields().iter().map(|f| f.name().clone()).collect()
    }

    /// The names that columns of the input have in the output; nothing if one of them is not there as it was, or if a row
    /// may become several.
    pub fn renamed(&self, columns: &[String]) -> Option<Vec<String>> {
        let place = |column: &String| self.origins.iter().position(|o| o.as_ref() == Some(column));
        columns.iter().map(|c| Some(self.schema.field(place(c)?).name().clone())).collect()
    }

    /// Runs on one batch to its end.
    ///
    /// # Errors
    /// An expression that fails for a row of the batch.
    pub fn run(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>, DataFusionError> {
        self.runs += 1;
        if self.runs.is_multiple_of(RUNS_PER_RESET) {
            self.plan = reset_plan_states(self.plan.clone())?;
        }
        self.slot.put(batch);
        let mut stream = self.plan.execute(0, self.task.clone())?;
        let mut context = Context::from_waker(Waker::noop());
        let (mut out, mut idle) = (Vec::new(), 0);
        loop {
            match stream.poll_next_unpin(&mut context) {
                Poll::Ready(Some(batch)) => out.push(self.normalise(&batch?)?),
                Poll::Ready(None) => return Ok(out),
                Poll::Pending if idle < MOST_IDLE_POLLS => idle += 1,
                Poll::Pending => return Err(DataFusionError::Internal("the query waits for something".into())),
            }
        }
    }

    fn normalise(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let columns = batch.columns().iter().zip(self.schema.fields()).map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(column.clone())
            } else {
                cast_with_options(column, field.data_type(), &options)
            }
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_, _>>()?)
    }
}

/// The type in which a column leaves the stage: one string type, one timestamp type, signed numbers.
fn normal(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        // DataFusion gives moments without a zone where it means UTC.
        DataType::Timestamp(..) => timestamp(),
        DataType::Date64 => DataType::Date32,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Null => DataType::Utf8,
        DataType::Decimal32(digits, scale) | DataType::Decimal64(digits, scale) => {
            DataType::Decimal128(*digits, *scale)
        }
        DataType::Dictionary(_, values) => normal(values),
        DataType::RunEndEncoded(_, values) => normal(values.data_type()),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            DataType::List(normal_field(field))
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(normal_field).collect()),
        other => other.clone(),
    }
}

fn normal_field(field: &Arc<Field>) -> Arc<Field> {
    Arc::new(Field::new(field.name(), normal(field.data_type()), true))
}

/// Each output row must depend on one input row only.
fn row_wise(plan: &LogicalPlan) -> Result<(), Refused> {
    let mut refused = None;
    let mut scans = 0;
    let walked = plan.apply_with_subqueries(|node| {
        let bad = match node {
            LogicalPlan::TableScan(scan) => {
                scans += 1;
                // A table function is a table as well, and would give its rows once for each batch.
                if source_as_provider(&scan.source).is_ok_and(|table| table.is::<Slot>()) {
                    scan.fetch.map(|_| whole_input("LIMIT", "a stage sees the rows batch by batch"))
                } else {
                    Some(Refused {
                        message: "the query reads something else than `input`".into(),
                        ..Refused::default()
                    })
                }
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_) => None,
            // Rows from nowhere: there is no `input` then.
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => None,
            other => Some(refuse_node(other)),
        };
        refused = refused.take().or(bad);
        node.apply_expressions(|e| {
            e.apply(|e| {
                refused = refused.take().or_else(|| refuse_expression(e));
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    if let Err(error) = walked {
        return Err(Refused { message: error.to_string(), ..Refused::default() });
    }
    match refused {
        Some(refused) => Err(refused),
        None if scans != 1 => Err(Refused {
            message: if scans == 0 {
                "the query does not read `input`".into()
            } else {
                format!("the query reads `input` {scans} times")
            },
            help: Some("a `sql` stage reads its input once: SELECT … FROM input WHERE …".into()),
            ..Refused::default()
        }),
        None => Ok(()),
    }
}

fn whole_input(what: &str, instead: &str) -> Refused {
    Refused {
        message: format!("{what} needs more than one row, and a `sql` stage runs on every batch by itself"),
        help: Some(instead.into()),
        word: what.trim_start_matches("a ").split(' ').next().map(Into::into),
        unknown: None,
    }
}

fn refuse_node(node: &LogicalPlan) -> Refused {
    match node {
        LogicalPlan::Aggregate(_) => {
            whole_input("an aggregate", "use a stage of kind `aggregate`: it keeps its groups from epoch to epoch")
        }
        LogicalPlan::Distinct(_) => whole_input("DISTINCT", "use a stage of kind `dedup` with the columns as `by`"),
        LogicalPlan::Window(_) => {
            whole_input("a window function", "use a stage of kind `aggregate`, or `dedup` for one row per key")
        }
        LogicalPlan::Sort(_) => whole_input("ORDER BY", "tables have no order; sort when you query them"),
        LogicalPlan::Limit(_) => whole_input("LIMIT", "filter with WHERE, or limit when you query the table"),
        LogicalPlan::Join(_) => {
            whole_input("a join", "use a stage of kind `join`: it keeps both sides from epoch to epoch")
        }
        LogicalPlan::Union(_) => whole_input("UNION", "list several inputs on one stage instead: `input: [a, b]`"),
        other => {
            whole_input(&other.display().to_string(), "a `sql` stage may use columns, filters, functions and unnest")
        }
    }
}

fn refuse_expression(expression: &Expr) -> Option<Refused> {
    match expression {
        Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => Some(Refused {
            message: format!(
                "`{}` gives another value each time, so a replay after a crash would give other rows",
                f.func.name()
            ),
            help: Some(
                "for the processing time let the source add a column: `add: { processing_time: ingest_time }`".into(),
            ),
            word: Some(f.func.name().into()),
            unknown: None,
        }),
        Expr::ScalarFunction(f) => functions::refuse_pattern(f.func.name(), &f.args).map(|message| Refused {
            message,
            word: Some(f.func.name().into()),
            ..Refused::default()
        }),
        Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => {
            Some(whole_input("a subquery", "the only table of a `sql` stage is `input`, read once"))
        }
        _ => None,
    }
}
