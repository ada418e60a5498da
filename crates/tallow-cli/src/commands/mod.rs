//! The commands, each with its arguments.

pub mod clean_runs;
pub mod completions;
pub mod data;
pub mod doctor;
pub mod evaluate;
pub mod export;
pub mod list;
pub mod lr_find;
pub mod overfit;
pub mod predict;
pub mod recipe;
pub mod regress;
pub mod report;
pub mod reproduce;
pub mod resume;
pub mod run;
pub mod run_args;
mod run_folders;
pub mod runs;
pub mod schema;
pub mod summary;
pub mod sweep;
pub mod track;
pub mod train;
