//! Tests of what a user sees: the binary is run, tables are read back by an independent reader.

mod support;

mod aggregate;
mod exactly_once;
mod job;
