//! `tallow schema`: the JSON schema of an experiment's file.

use anyhow::Result;
use tallow_experiment::schema;

use crate::ending::Ending;
use crate::output;
use crate::program::Program;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Example:
  {tallow} schema > tallow.schema.json

With this as the first line of an experiment's file, editors that know taplo (Even Better TOML for VS Code, for example) complete and
check its keys:
  #:schema ./tallow.schema.json";

/// Prints the schema.
pub fn schema(program: &Program) -> Result<Ending> {
    let schema = schema::experiment(&program.models);
    output::print(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(Ending::Done)
}
