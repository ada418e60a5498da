//! burn's side of `cargo xtask bench --against burn`: training steps and inference of the networks, on the CPU backend `flex`.
//!
//! Reads a request and writes a reply for each, a line of JSON; xtask/src/bench/worker/protocol.rs has them. The allocator is the system's,
//! as in a program that sets none.

mod job;
mod networks;

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

use job::Job;

fn main() -> io::Result<()> {
    say(&json!({ "version": format!("burn {} (flex)", burn_version()) }))?;
    let mut job = None;
    for line in io::stdin().lock().lines() {
        let reply = answer(&line?, &mut job).unwrap_or_else(|error| json!({ "error": error }));
        say(&reply)?;
    }
    Ok(())
}

/// Version that the manifest asks for.
fn burn_version() -> &'static str {
    let manifest = include_str!("../Cargo.toml");
    let (_, version) = manifest
        .split_once("burn = { version = \"=")
        .unwrap_or_default();
    version.split('"').next().unwrap_or_default()
}

fn say(reply: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{reply}")?;
    out.flush()
}

fn answer(line: &str, slot: &mut Option<Job>) -> Result<Value, String> {
    let request: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match request["do"].as_str() {
        Some("prepare") => {
            // Frees the memory of the last one first.
            *slot = None;
            let (job, parameters) = Job::new(&request["case"])?;
            *slot = Some(job);
            Ok(json!({ "arms": [{ "name": "default" }], "parameters": parameters }))
        }
        Some("run") => {
            let steps = request["steps"].as_u64().ok_or("no number of steps")?;
            let job = slot.take().ok_or("nothing is prepared")?;
            let (job, seconds) = job.run(steps)?;
            *slot = Some(job);
            Ok(json!({ "seconds": seconds }))
        }
        _ => Err(format!("not a request of this process: {line}")),
    }
}
