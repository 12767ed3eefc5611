//! Functions that are added to DataFusion's.

mod extract_all;
mod parse_timestamp;
mod pattern;
mod zones;

use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;

/// Makes them known to a session.
pub fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::from(extract_all::ExtractAll::default()));
    context.register_udf(ScalarUDF::from(parse_timestamp::ParseTimestamp::default()));
}
