//! One aggregate: its function over an argument, and how its total is kept.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::arrow::compute::SortOptions;
use alluvium_engine::arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use alluvium_engine::arrow::row::SortField;
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::Input;
use alluvium_sql::quote;

use super::definition::{Definition, Function};
use super::selection::Selection;
use super::totals::{Absorbing, Total};

/// What an aggregate is at run time.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) function: Function,
    /// Its argument in the projected rows, and columns that come with it; none for `count(*)`.
    pub(crate) arguments: Vec<usize>,
    /// Its condition in the projected rows.
    pub(crate) filter: Option<usize>,
    /// Names of the columns that come with the argument.
    pub(crate) with: Vec<String>,
    /// The arguments' fields.
    pub(crate) inputs: Vec<Field>,
    pub(crate) kept: Kept,
    /// The first aggregate that keeps the same of the same rows, if it is another one: it keeps it for both.
    pub(crate) shared: Option<usize>,
}

/// How the total is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As numbers, from which a row can be taken away again.
    Sum,
    /// As what has been best so far.
    Best,
    /// As every value, in the totals of the group: sessions, which are small.
    Within,
    /// As every value, apart from the group.
    Apart,
}

impl Column {
    /// Takes over the types of the projected rows.
    pub(crate) fn typed(&mut self, projected: &SchemaRef) {
        let names = std::iter::once("value").chain(self.with.iter().map(String::as_str));
        let field = |(&i, name): (&usize, &str)| Field::new(name, projected.field(i).data_type().clone(), true);
        self.inputs = self.arguments.iter().zip(names).map(field).collect();
    }

    /// Type of the argument.
    pub(crate) fn input(&self) -> DataType {
        self.inputs.first().map_or(DataType::Int64, |f| f.data_type().clone())
    }

    /// Whether there is a number of something for every group.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.function, Function::Count | Function::CountDistinct { .. } | Function::Histogram { .. })
    }

    pub(crate) fn output(&self) -> DataType {
        match &self.function {
            Function::Count | Function::CountDistinct { .. } => DataType::Int64,
            Function::Avg | Function::Variance | Function::Stddev | Function::Quantile { .. } => DataType::Float64,
            Function::Sum | Function::Min | Function::Max | Function::Mode => self.input(),
            Function::Best { .. } if self.inputs.len() < 2 => list(self.input()),
            Function::Best { .. } => list(DataType::Struct(self.entry())),
            Function::Histogram { .. } => list(DataType::Struct(bucket_fields())),
            Function::MostFrequent { .. } => list(DataType::Struct(frequency_fields(self.input()))),
        }
    }

    /// Fields of an entry of a list of the best.
    pub(crate) fn entry(&self) -> Fields {
        self.inputs.iter().cloned().collect()
    }

    /// The order of values, first the best; nothing if values are only added up.
    pub(crate) fn order(&self) -> Option<Vec<SortField>> {
        let descending = match &self.function {
            Function::Min | Function::Mode | Function::CountDistinct { .. } | Function::MostFrequent { .. } => false,
            Function::Quantile { approximate: false, .. } => false,
            Function::Max => true,
            Function::Best { greatest, .. } => *greatest,
            _ => return None,
        };
        let field = |(at, f): (usize, &Field)| {
            // Rows with equal values come in the order of their other columns.
            let options = SortOptions { descending: descending && at == 0, nulls_first: true };
            SortField::new_with_options(f.data_type().clone(), options)
        };
        Some(self.inputs.iter().enumerate().map(field).collect())
    }

    /// The total of no rows.
    pub(crate) fn nothing(&self) -> Total {
        match (self.kept, &self.function) {
            (Kept::Apart, Function::CountDistinct { .. }) => Total::Count(0),
            (Kept::Apart, _) => Total::Apart,
            (Kept::Within, _) => Total::Values(Default::default()),
            (Kept::Best, Function::CountDistinct { .. }) => Total::Distinct(Box::default()),
            (Kept::Best, Function::MostFrequent { .. }) => Total::Frequencies(Box::default()),
            (Kept::Best, _) => match self.wanted() {
                1 => Total::First(Absorbing::Nothing),
                k => Total::Best(Box::new((k, Absorbing::Nothing))),
            },
            (Kept::Sum, Function::Sum | Function::Avg) if self.input().is_floating() => Total::Float(Box::default()),
            (Kept::Sum, Function::Sum | Function::Avg) => Total::Whole(Box::default()),
            (Kept::Sum, Function::Variance | Function::Stddev) => Total::Squares(Box::default()),
            (Kept::Sum, Function::Quantile { .. } | Function::Histogram { .. }) => Total::Buckets(Box::default()),
            (Kept::Sum, _) => Total::Count(0),
        }
    }

    /// How many of the best are asked for.
    pub(crate) fn wanted(&self) -> u32 {
        if let Function::Best { k, .. } | Function::MostFrequent { k, .. } = self.function { k } else { 1 }
    }

    /// Whether what is kept for the other one, which needs the same of a row, serves this one too.
    fn same(&self, other: &Self) -> bool {
        let bounds =
            |c: &Self| if let Function::Histogram { bounds } = &c.function { bounds.clone() } else { Vec::new() };
        let form = |c: &Self| (c.kept, c.order(), bounds(c));
        let total = self.kept == Kept::Apart || self.nothing() == other.nothing();
        form(self) == form(other) && total && self.kept != Kept::Within
    }
}

/// Of a histogram's entry.
pub(crate) fn bucket_fields() -> Fields {
    let bound = |name| Field::new(name, DataType::Float64, true);
    [bound("from"), bound("to"), Field::new("count", DataType::Int64, true)].into_iter().collect()
}

/// Of an entry of a list of the most frequent values.
pub(crate) fn frequency_fields(value: DataType) -> Fields {
    [Field::new("value", value, true), Field::new("rows", DataType::Int64, true)].into_iter().collect()
}

/// Lets aggregates that keep the same keep it once: quantiles of one column, for example.
pub(crate) fn share(columns: &mut [Column]) {
    // By what they need of a row; of few functions that need the same, each may keep something else.
    let mut first: HashMap<(Vec<usize>, Option<usize>), Vec<usize>> = HashMap::new();
    for at in 0..columns.len() {
        let (before, rest) = columns.split_at_mut(at);
        let Some(column) = rest.first_mut() else { continue };
        let others = first.entry((column.arguments.clone(), column.filter)).or_default();
        column.shared = others.iter().copied().find(|other| before.get(*other).is_some_and(|c| column.same(c)));
        if column.shared.is_none() {
            others.push(at);
        }
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// Checks a definition and adds what it needs of a row to what is selected.
pub(crate) fn column(
    definition: &Definition,
    path: &str,
    input: &Input,
    session: bool,
    selection: &mut Selection<'_>,
) -> Result<Column, Vec<Problem>> {
    let below = |problems: Vec<Problem>| {
        let place = |p: Problem| Problem { path: path.split('.').map(Into::into).chain(p.path.clone()).collect(), ..p };
        problems.into_iter().map(place).collect::<Vec<_>>()
    };
    let (function, argument, name) = definition.function().map_err(below)?;
    let mut problems = Vec::new();
    let mut arguments = Vec::new();
    if !(function == Function::Count && argument.trim() == "*") {
        let place = format!("{path}.{name}");
        match selection.expression(argument, &place, false) {
            Err(problem) => problems.push(problem),
            Ok(found) => match wanted(&function, &found) {
                Ok(Some(cast)) => arguments.push(selection.place(format!("CAST(({argument}) AS {cast})"))),
                Ok(None) => arguments.push(selection.place(format!("({argument})"))),
                Err(message) => problems.push(Problem::field(&place, message).label("of the wrong type")),
            },
        }
    }
    for (at, name) in definition.with.iter().enumerate() {
        let place = format!("{path}.with.{at}");
        match input.schema.field_with_name(name) {
            Ok(field) if field.data_type().is_nested() || name == "value" => {
                problems.push(Problem::field(&place, format!("`{name}` cannot be an entry's column")).label("here"));
            }
            Ok(_) => arguments.push(selection.place(quote(name))),
            Err(_) => problems.push(
                Problem::field(&place, format!("there is no column `{name}`")).label("not a column").suggest(
                    name,
                    input.schema.fields().iter().map(|f| f.name().as_str()),
                    "columns",
                ),
            ),
        }
    }
    let mut filter = None;
    if let Some(condition) = &definition.filter {
        match selection.expression(condition, &format!("{path}.where"), true) {
            Err(problem) => problems.push(problem),
            Ok(_) => filter = Some(selection.place(format!("({condition})"))),
        }
    }
    let kept = kept(&function, input.changes.is_none(), session);
    if kept.is_none() {
        problems.push(
            Problem::field(
                &format!("{path}.approximate"),
                format!("`{}` gives rows that come and go, and an estimate cannot forget", input.from),
            )
            .label("only for rows that come")
            .help("remove `approximate`: the exact number is kept up to date"),
        );
    }
    match kept {
        Some(kept) if problems.is_empty() => Ok(Column {
            function,
            arguments,
            filter,
            with: definition.with.clone(),
            inputs: Vec::new(),
            kept,
            shared: None,
        }),
        _ => Err(problems),
    }
}

fn kept(function: &Function, appends: bool, session: bool) -> Option<Kept> {
    let all = if session { Kept::Within } else { Kept::Apart };
    Some(match function {
        Function::CountDistinct { approximate: true } | Function::MostFrequent { approximate: true, .. } => {
            return appends.then_some(Kept::Best);
        }
        Function::Min | Function::Max | Function::Best { .. } if appends => Kept::Best,
        Function::Min | Function::Max | Function::Best { .. } | Function::Mode | Function::MostFrequent { .. } => all,
        Function::CountDistinct { .. } | Function::Quantile { approximate: false, .. } => all,
        _ => Kept::Sum,
    })
}

/// The type that an argument is cast to, if any.
fn wanted(function: &Function, found: &DataType) -> Result<Option<&'static str>, String> {
    match function {
        Function::Count => Ok(None),
        Function::Sum | Function::Avg if found.is_integer() => Ok(Some("BIGINT")),
        Function::Sum | Function::Avg if found.is_floating() => Ok(Some("DOUBLE")),
        Function::Sum => Err(format!("a column of type {} cannot be added up", type_name(found))),
        Function::Avg
        | Function::Variance
        | Function::Stddev
        | Function::Quantile { .. }
        | Function::Histogram { .. } => {
            let message = || format!("a column of type {} is no number", type_name(found));
            if found.is_numeric() { Ok(Some("DOUBLE")) } else { Err(message()) }
        }
        _ if found.is_nested() => Err(format!("values of type {} have no order", type_name(found))),
        _ => Ok(None),
    }
}
