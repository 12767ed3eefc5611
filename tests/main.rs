//! Tests of what a user sees: the binary is run, tables are read back by an independent reader.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test ends with a panic"
)]

mod support;

mod aggregate;
mod basic;
mod change_feed;
mod changes;
mod chaos;
mod check;
mod classify;
mod cli;
mod cluster;
mod dedup;
mod delta_source;
mod deploy;
mod docs;
mod doctor;
mod drift;
mod evaluate;
mod event_log;
mod exactly_once;
mod faults;
mod files;
mod golden;
mod history;
mod job;
mod join;
mod ledger;
mod ls;
mod monitor;
mod objects;
mod opentelemetry;
mod partitions;
mod profile;
mod quality;
mod refresh;
mod report;
mod s3;
mod secrets;
mod sql;
mod storage_faults;
mod template;
mod upkeep;
mod upsert;
mod watch;
mod weblogs;
