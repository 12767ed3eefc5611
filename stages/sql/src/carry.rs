//! Rows that are changes keep their number on the way through a query.

use alluvium_engine::stage::DIFF;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

use crate::refused::Refused;

/// A row-wise plan that hands on [`DIFF`] where its projections leave it out.
pub(crate) fn carry(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let carried = plan.transform_up(|node| {
        let LogicalPlan::Projection(projection) = node else { return node.recompute_schema().map(Transformed::yes) };
        let mut expressions = projection.expr;
        if !projection.schema.has_column_with_unqualified_name(DIFF) {
            let (table, field) = projection.input.schema().qualified_field_with_unqualified_name(DIFF)?;
            expressions.push(Expr::Column(Column::from((table, field))));
        }
        Projection::try_new(expressions, projection.input).map(|p| Transformed::yes(LogicalPlan::Projection(p)))
    })?;
    Ok(carried.data)
}

/// Refuses a query that makes a column of this name, which would count rows wrongly.
pub(crate) fn untouched(plan: &LogicalPlan) -> Result<(), Refused> {
    let at = plan.schema().fields().iter().position(|f| f.name() == DIFF);
    match at.map(|at| origin(plan, at, true)) {
        None => Ok(()),
        Some(Some(from)) if from == DIFF => Ok(()),
        Some(_) => Err(Refused {
            message: format!("the query makes a column `{DIFF}`"),
            help: Some("the name is taken: it says how often a row is added or taken away".into()),
            word: Some(DIFF.into()),
            unknown: None,
        }),
    }
}

/// For each output column the input column that it is, if it is one unchanged and every input row gives at most one row.
pub(crate) fn origins(plan: &LogicalPlan) -> Vec<Option<String>> {
    (0..plan.schema().fields().len()).map(|at| origin(plan, at, false)).collect()
}

fn origin(plan: &LogicalPlan, at: usize, multiplied: bool) -> Option<String> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.projected_schema.field(at).name().clone()),
        LogicalPlan::Filter(filter) => origin(&filter.input, at, multiplied),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, at, multiplied),
        LogicalPlan::Projection(projection) => {
            let column = plain(projection.expr.get(at)?)?;
            origin(&projection.input, projection.input.schema().maybe_index_of_column(column)?, multiplied)
        }
        LogicalPlan::Unnest(unnest) if multiplied => {
            origin(&unnest.input, *unnest.dependency_indices.get(at)?, multiplied)
        }
        _ => None,
    }
}

fn plain(expression: &Expr) -> Option<&Column> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain(&alias.expr),
        _ => None,
    }
}
