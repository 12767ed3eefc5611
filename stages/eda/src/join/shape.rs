//! What is known of a join at plan time.

use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::{Changes, DIFF, Input};

use super::{By, How, Join};
use crate::form::unfit;

/// One side.
pub(crate) struct Side {
    /// Places of the key's columns in the input.
    pub(crate) key: Vec<usize>,
    /// Places of the other columns that are kept,
    pub(crate) kept: Vec<usize>,
    /// and what they are, by the names that they have in the output.
    pub(crate) columns: Vec<FieldRef>,
}

impl Side {
    pub(crate) fn key_names(&self, schema: &SchemaRef) -> Vec<String> {
        self.key.iter().map(|&at| schema.field(at).name().clone()).collect()
    }
}

/// Where a column of the output comes from, and its number there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    Key(usize),
    Left(usize),
    Right(usize),
}

pub(crate) struct Shape {
    /// By the names of the left side.
    pub(crate) key: Vec<FieldRef>,
    pub(crate) left: Side,
    pub(crate) right: Side,
    /// Without the number of changes.
    pub(crate) output: SchemaRef,
    pub(crate) origins: Vec<Origin>,
    /// Nothing if rows only come.
    pub(crate) changes: Option<Changes>,
}

impl Shape {
    pub(crate) fn new(config: &Join, left: &Input, right: &Input) -> Result<Self, Vec<Problem>> {
        let mut problems = unfit(&left.schema);
        problems.extend(unfit(&right.schema));
        let pairs = config.pairs(left, right, &mut problems);
        let selected = config.selected(left, right, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (left_key, right_key): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
        let columns = without(&left.schema, |at| !left_key.contains(&at));
        let (kept, columns) = columns.into_iter().unzip();
        let key = left_key.iter().map(|&at| left.schema.fields()[at].clone()).collect();
        let left_side = Side { key: left_key, kept, columns };
        let (kept, columns) = selected.into_iter().unzip();
        let right_side = Side { key: right_key, kept, columns };
        let mut shape = Self {
            key,
            left: left_side,
            right: right_side,
            output: Arc::new(Schema::empty()),
            origins: Vec::new(),
            changes: None,
        };
        shape.lay_out(&left.schema);
        if config.how == How::Left || left.changes.is_some() || right.changes.is_some() {
            shape.changes = Some(Changes { keys: shape.keys(config.how, left, right) });
        }
        Ok(shape)
    }

    /// Columns of the left side as they are, then those of the right side.
    fn lay_out(&mut self, left: &SchemaRef) {
        let mut fields = Vec::new();
        for (at, field) in without(left, |_| true) {
            let origin = match (position(&self.left.key, at), position(&self.left.kept, at)) {
                (Some(key), _) => Origin::Key(key),
                (_, Some(kept)) => Origin::Left(kept),
                _ => continue,
            };
            self.origins.push(origin);
            fields.push(field);
        }
        for (at, field) in self.right.columns.iter().enumerate() {
            self.origins.push(Origin::Right(at));
            fields.push(field.clone());
        }
        self.output = Arc::new(Schema::new(fields));
    }

    /// Columns of which no two rows of the output have the same values, if that is known.
    fn keys(&self, how: How, left: &Input, right: &Input) -> Vec<String> {
        let keys = |input: &Input| input.changes.as_ref().map(|c| c.keys.clone()).unwrap_or_default();
        let (of_left, of_right) = (keys(left), keys(right));
        let single = |keys: &[String], names: &[String]| !keys.is_empty() && keys.iter().all(|k| names.contains(k));
        let right_names = self.right.key_names(&right.schema);
        if of_left.is_empty() || single(&of_right, &right_names) {
            return of_left;
        }
        // A row of the output is a pair: it is told by what tells both sides.
        let in_output = |name: &String| {
            let kept = right.schema.index_of(name).ok().and_then(|at| position(&self.right.kept, at));
            match right_names.iter().position(|n| n == name) {
                Some(key) => self.key.get(key).map(|f| f.name().clone()),
                None => kept.and_then(|at| self.right.columns.get(at)).map(|f| f.name().clone()),
            }
        };
        let Some(others) = of_right.iter().map(in_output).collect::<Option<Vec<_>>>().filter(|o| !o.is_empty()) else {
            return Vec::new();
        };
        if how == How::Inner && single(&of_left, &self.left.key_names(&left.schema)) {
            return others;
        }
        let mut both = of_left;
        for name in others {
            if !both.contains(&name) {
                both.push(name);
            }
        }
        both
    }
}

impl Join {
    /// Places of the key's columns on both sides.
    fn pairs(&self, left: &Input, right: &Input, problems: &mut Vec<Problem>) -> Vec<(usize, usize)> {
        let given: Vec<(String, &String, &String)> = match &self.by {
            By::Same(names) => names.iter().enumerate().map(|(at, n)| (at.to_string(), n, n)).collect(),
            By::Named(names) => names.iter().map(|(l, r)| (l.clone(), l, r)).collect(),
        };
        let named = matches!(self.by, By::Named(_));
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for (path, l, r) in given {
            let at = |message: String| Problem { path: vec!["by".into(), path.clone()], ..Problem::new(message) };
            let find = |input: &Input, name: &String, at_key: bool| {
                index(input, name).ok_or_else(|| {
                    Problem { at_key, ..at(missing(input, name)) }.label("not a column").suggest(
                        name,
                        names(input),
                        "columns",
                    )
                })
            };
            match (find(left, l, named), find(right, r, false)) {
                (Ok(a), Ok(b)) if pairs.iter().any(|(x, y)| *x == a || *y == b) => problems.push(
                    at(format!("`{}` is given twice", if pairs.iter().any(|(x, _)| *x == a) { l } else { r }))
                        .label("here")
                        .help("each column can be part of the key once"),
                ),
                (Ok(a), Ok(b)) => {
                    problems.extend(unlike(at, left.schema.field(a), right.schema.field(b)));
                    pairs.push((a, b));
                }
                (l, r) => problems.extend([l.err(), r.err()].into_iter().flatten()),
            }
        }
        pairs
    }

    /// Places of the columns that the right side gives, and their names in the output.
    fn selected(&self, left: &Input, right: &Input, problems: &mut Vec<Problem>) -> Vec<(usize, FieldRef)> {
        let Some(given) = &self.right else { return self.all_others(left, right, problems) };
        let mut selected = Vec::new();
        for (new, name) in given {
            let at = |message: String| Problem { path: vec!["right".into(), new.clone()], ..Problem::new(message) };
            if index(left, new).is_some() || new == DIFF {
                let owner = if new == DIFF { "changes have".into() } else { format!("`{}` has", left.from) };
                problems.push(
                    Problem { at_key: true, ..at(format!("{owner} a column `{new}` already")) }
                        .label("the name is taken")
                        .help("give the column of the right side another name"),
                );
            }
            match index(right, name) {
                Some(place) => selected.push((place, self.renamed(right, place, new))),
                None => {
                    problems.push(at(missing(right, name)).label("not a column").suggest(name, names(right), "columns"))
                }
            }
        }
        selected
    }

    /// All columns of the right side that are not part of the key.
    fn all_others(&self, left: &Input, right: &Input, problems: &mut Vec<Problem>) -> Vec<(usize, FieldRef)> {
        let is_key = |name: &String| match &self.by {
            By::Same(names) => names.contains(name),
            By::Named(names) => names.values().any(|n| n == name),
        };
        let others = without(&right.schema, |at| !is_key(right.schema.field(at).name()));
        let taken: Vec<&str> =
            others.iter().map(|(_, f)| f.name().as_str()).filter(|n| index(left, n).is_some()).collect();
        if let Some(first) = taken.first() {
            let free = |name: &str| match taken.contains(&name) {
                true => format!("{}_{name}: {name}", right.from.replace('.', "_")),
                false => format!("{name}: {name}"),
            };
            let list: Vec<String> = others.iter().map(|(_, f)| free(f.name())).collect();
            problems.push(
                Problem::field("right", format!("`{}` and `{}` both have a column `{first}`", left.from, right.from))
                    .label("needs `right`")
                    .help(format!("name what comes of the right side: `right: {{ {} }}`", list.join(", "))),
            );
        }
        others.into_iter().map(|(at, f)| (at, self.renamed(right, at, f.name()))).collect()
    }

    fn renamed(&self, right: &Input, at: usize, name: &str) -> FieldRef {
        let field = right.schema.field(at);
        let nullable = field.is_nullable() || self.how == How::Left;
        Arc::new(Field::new(name, field.data_type().clone(), nullable))
    }
}

/// Columns that cannot be compared with each other.
fn unlike(at: impl Fn(String) -> Problem, left: &Field, right: &Field) -> Option<Problem> {
    let (a, b) = (left.data_type(), right.data_type());
    let problem = |message: String, help: &str| Some(at(message).label("no key").help(help));
    if a != b {
        let message = format!(
            "`{}` has type {} on the left side, and `{}` has type {} on the right side",
            left.name(),
            type_name(a),
            right.name(),
            type_name(b)
        );
        return problem(message, "CAST one of them in a `sql` stage before: both sides of a key have one type");
    }
    let message = format!("`{}` has type {}, which is no key", left.name(), type_name(a));
    if a.is_nested() {
        return problem(message, "take a field of it in a `sql` stage before");
    }
    if a.is_floating() {
        return problem(
            message,
            "CAST it to a bigint, a decimal or a string in a `sql` stage before: floating point numbers are rounded",
        );
    }
    None
}

fn missing(input: &Input, name: &str) -> String {
    format!("`{}` has no column `{name}`", input.from)
}

/// Columns by place; the number of changes is none of the row.
fn without(schema: &SchemaRef, keep: impl Fn(usize) -> bool) -> Vec<(usize, FieldRef)> {
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(at, f)| f.name() != DIFF && keep(*at)).map(|(at, f)| (at, f.clone())).collect()
}

fn index(input: &Input, name: &str) -> Option<usize> {
    input.schema.index_of(name).ok().filter(|_| name != DIFF)
}

fn names(input: &Input) -> impl Iterator<Item = &str> {
    input.schema.fields().iter().map(|f| f.name().as_str()).filter(|n| *n != DIFF)
}

fn position(places: &[usize], at: usize) -> Option<usize> {
    places.iter().position(|p| *p == at)
}
