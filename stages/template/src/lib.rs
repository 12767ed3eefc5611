//! A stage crate to copy
