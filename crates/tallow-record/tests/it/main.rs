//! Integration tests of tallow-record.

mod earlier;
mod files;
mod find;
mod layout;
mod metrics;
mod numbers;
mod read;
mod record;
mod results;
mod tier;
mod variants;
