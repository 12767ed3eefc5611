//! Why a query cannot be a stage, in the words of specs.

use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::spec::{Problem, in_words};
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

/// Why a query cannot be a stage.
#[derive(Debug, Default)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The word of the query that it is about.
    pub word: Option<String>,
    /// A name that is not known, and those that are.
    pub unknown: Option<(String, Vec<String>)>,
}

impl Refused {
    /// As a problem of a field of the configuration.
    pub fn problem(self, path: &str) -> Problem {
        let problem = Problem::field(path, self.message).label("here");
        let problem = match self.word {
            Some(word) => problem.within(word),
            None => problem,
        };
        match (self.help, self.unknown) {
            (_, Some((word, known))) => problem.suggest(&word, known.iter().map(String::as_str), "columns"),
            (Some(help), None) => problem.help(help),
            (None, None) => problem,
        }
    }
}

/// What DataFusion says of a query that it cannot plan.
pub(crate) fn refuse(error: DataFusionError, input: &SchemaRef) -> Refused {
    let columns: Vec<String> = input.fields().iter().map(|f| f.name().clone()).collect();
    let root = error.find_root();
    if let DataFusionError::SchemaError(schema, _) = root {
        match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => return no_column(field.name(), columns),
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                return twice(name);
            }
            SchemaError::AmbiguousReference { field } => return twice(field.name()),
        }
    }
    if let DataFusionError::SQL(error, _) = root {
        return not_sql(error);
    }
    let text = root.strip_backtrace();
    let text = in_words(text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest).trim());
    if ["DDL", "DML", "Statement"].iter().any(|what| text.starts_with(&format!("{what} not supported"))) {
        return Refused { message: "a `sql` stage runs one SELECT and changes nothing".into(), ..Refused::default() };
    }
    if text.starts_with("Projections require unique expression names") {
        return Refused {
            message: "two columns of the result are the same expression, and so have the same name".into(),
            help: Some("give each a name of its own with AS".into()),
            ..Refused::default()
        };
    }
    if let Some(path) = text.strip_prefix("table '").and_then(|t| t.strip_suffix("' not found")) {
        let table = path.rsplit('.').next().unwrap_or(path).to_owned();
        return Refused {
            message: format!("there is no table `{table}`"),
            help: Some("the only table of a `sql` stage is `input`: what the stage named by `input:` gives".into()),
            word: Some(table),
            unknown: None,
        };
    }
    Refused { message: text, ..Refused::default() }
}

fn twice(name: &str) -> Refused {
    Refused {
        message: format!("two columns of the result are named `{name}`"),
        help: Some("give one of them another name with AS".into()),
        ..Refused::default()
    }
}

fn no_column(name: &str, columns: Vec<String>) -> Refused {
    let refused =
        Refused { message: format!("there is no column `{name}`"), word: Some(name.into()), ..Refused::default() };
    match columns.iter().find(|column| column.eq_ignore_ascii_case(name)) {
        Some(column) => Refused {
            help: Some(format!("SQL reads a name without quotes in lower case: write \"{column}\"")),
            ..refused
        },
        None => Refused { unknown: Some((name.into(), columns)), ..refused },
    }
}

/// The parser's words without its wrapping. Its line and column are those of the query alone, so the word is shown,
/// unless it is a sign that may stand in many places.
fn not_sql(error: &ParserError) -> Refused {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
        return Refused { message: "the query is nested too deeply".into(), ..Refused::default() };
    };
    let (text, place) = text.split_once(" at Line: ").unwrap_or((text, ""));
    let word = text.split_once("found: ").map(|(_, w)| w.to_owned()).filter(|w| w != "EOF");
    let (word, place) = match word {
        Some(sign) if !sign.starts_with(|c: char| c.is_alphanumeric() || "'\"_".contains(c)) => {
            (None, format!(" at line {} of the query", place.replace(", Column: ", ", column ")))
        }
        word => (word, String::new()),
    };
    let text =
        text.replace("Expected: ", "expected ").replace("found: EOF", "found the end").replace("found: ", "found ");
    Refused { message: format!("not valid SQL: {text}{place}"), word, ..Refused::default() }
}
