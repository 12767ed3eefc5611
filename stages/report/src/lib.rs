//! `alluvium report` and `alluvium plot`: a pipeline's tables for people.
//!
//! ```text
//! panels (spec, or defaults) ─> rows as of one epoch ─> content ─┬─> SVG ─┬─> one HTML file
//!                                                                │        └─> files, PNG
//!                                                                └─> text for a terminal
//! ```
//! Nothing here knows how tables are kept: rows come through [`Tables`](alluvium_engine::tables::Tables).

mod chart;
mod content;
mod defaults;
mod format;
mod load;
mod page;
mod palette;
mod pieces;
mod plot;
mod png;
mod report;
mod rows;
mod terminal;

pub use pieces::Panels;
pub use plot::PlotCommand;
pub use report::ReportCommand;
