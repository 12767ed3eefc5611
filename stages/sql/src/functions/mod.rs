//! Functions that are added to DataFusion's.

mod extract_all;
mod parse_timestamp;
mod pattern;
mod zones;

use datafusion::logical_expr::{Expr, ScalarUDF};
use datafusion::prelude::SessionContext;

/// Makes them known to a session.
pub(crate) fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::from(extract_all::ExtractAll::default()));
    context.register_udf(ScalarUDF::from(parse_timestamp::ParseTimestamp::default()));
}

/// Why a call with these arguments can never work: found before the run, not at the first row.
pub(crate) fn refuse_pattern(name: &str, arguments: &[Expr]) -> Option<String> {
    let own = ["regexp_extract_all", "parse_timestamp"].contains(&name);
    if !own && !name.starts_with("regexp_") {
        return None;
    }
    let pattern = match arguments.get(1)? {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ if own => None,
        _ => return None,
    };
    match pattern {
        None if own => Some(format!("the pattern of `{name}` must be a constant text")),
        None => None,
        Some(pattern) if name == "parse_timestamp" => pattern::Pattern::new(pattern).err(),
        Some(pattern) => regex::Regex::new(pattern).err().map(|e| {
            // The last of several lines says it; the others show the place by spaces.
            let text = e.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("`{pattern}` is not a regular expression: {last}")
        }),
    }
}
