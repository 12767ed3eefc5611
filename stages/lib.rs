//! Alluvium: a declarative dataflow engine. This is the distribution: the engine with all built-in stages.
#![doc = include_str!("../README.md")]

pub use alluvium_engine as engine;
use alluvium_engine::Registry;

/// Every built-in kind, and the commands that come with them.
pub fn registry() -> Registry {
    monitored()
        // Sources
        .with::<alluvium_files::Files>()
        .with::<alluvium_delta::DeltaSource>()
        .with::<alluvium_basic::Generate>()
        // Transforms
        .with::<alluvium_sql::Sql>()
        .with::<alluvium_classify::Classify>()
        // Operators
        .with::<alluvium_eda::Aggregate>()
        .with::<alluvium_eda::Evaluate>()
        .with::<alluvium_eda::Profile>()
        .with::<alluvium_eda::Drift>()
        .with::<alluvium_eda::Join>()
        .with::<alluvium_eda::Dedup>()
        .with_workers(alluvium_eda::merge_at_once)
        // Sinks
        .with::<alluvium_delta::Delta>()
        .with::<alluvium_basic::Print>()
        .with::<alluvium_basic::Blackhole>()
        .with_tables(alluvium_delta::DeltaTables)
        .with_reporter(alluvium_report::Panels)
        // Commands
        .with_command(alluvium_delta::QueryCommand)
        .with_command(alluvium_delta::TableCommand)
        .with_command(alluvium_classify::ModelCommand)
        .with_command(alluvium_report::ReportCommand)
        .with_command(alluvium_report::PlotCommand)
        .with_command(alluvium_monitor::Ps)
        .with_command(alluvium_monitor::StatusCommand)
        .with_command(alluvium_monitor::Top)
        .with_command(alluvium_monitor::Await)
        .with_command(alluvium_monitor::Tap)
        .with_command(alluvium_monitor::Pause)
        .with_command(alluvium_monitor::Resume)
        .with_command(alluvium_monitor::StopCommand)
}

#[cfg(not(feature = "opentelemetry"))]
fn monitored() -> Registry {
    Registry::new().with_monitor(alluvium_monitor::HttpMonitor)
}

#[cfg(feature = "opentelemetry")]
fn monitored() -> Registry {
    let monitor = alluvium_opentelemetry::OpenTelemetry::new(alluvium_monitor::HttpMonitor);
    let layer = monitor.log_layer();
    Registry::new().with_monitor(monitor).with_log_layer(layer)
}
