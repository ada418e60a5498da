//! Jobs that train the shards of a sweep: a Slurm array, and a matrix of GitHub Actions.

use std::fmt::Write;

use serde_json::json;
use tallow_experiment::report::shell_quoted;

/// Slurm array job.
pub struct Array<'a> {
    /// Name of the experiment.
    pub experiment: &'a str,
    /// Command of the sweep, without a shard.
    pub command: &'a str,
    /// Folder of the run records.
    pub out: &'a str,
    /// Number of jobs in it.
    pub jobs: usize,
    /// Most jobs that run at the same time, if there is a limit.
    pub at_once: Option<u32>,
    /// Number of rungs, of which one submission trains one.
    pub rungs: usize,
    /// Threads of each job, if they are given.
    pub threads: Option<u16>,
}

/// Script for `sbatch`.
pub fn slurm(array: &Array) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    let name: String = array.experiment.chars().map(safe).collect();
    let jobs = array.jobs;
    let limit = array.at_once.map(|jobs| format!("%{jobs}"));
    let limit = limit.unwrap_or_default();
    let mut script = format!(
        "#!/bin/bash\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=1-{jobs}{limit}\n\
         #SBATCH --output={name}-%A-%a.log\n\
         # A job that is requeued goes on in its log too.\n\
         #SBATCH --open-mode=append\n\
         # Before the time limit, so that a checkpoint is written.\n\
         #SBATCH --signal=B:TERM@120\n"
    );
    let _ = match array.threads {
        Some(threads) => writeln!(script, "#SBATCH --cpus-per-task={threads}"),
        None => writeln!(
            script,
            "# A job has as many threads as it gets processors: add --cpus-per-task, always the same, since a trial goes on with that number alone."
        ),
    };
    let _ = writeln!(
        script,
        "# Add what the cluster needs, such as --time, --mem, --partition and --gres.\n\
         #\n\
         # Submit it in the folder in which the command below works, on a disk that all jobs see. Submitted again, it goes on where it was.\n\
         # The job that ends last writes the table of all trials. With --collect {} in place of --shard the command makes it of those that there are.",
        shell_quoted(array.out)
    );
    if array.rungs > 1 {
        let _ = writeln!(
            script,
            "# The sweep has {} rungs, and each submission trains one of them, in a folder that all jobs see:",
            array.rungs
        );
        script.push_str("#   job=$(sbatch --parsable THIS)\n");
        for _ in 1..array.rungs {
            script.push_str("#   job=$(sbatch --parsable --dependency=afterany:$job THIS)\n");
        }
        script.push_str("# Where a job reached its time limit, the next submission goes on with that rung; submit once more then.\n");
    }
    let _ = writeln!(
        script,
        "\nexec {} --shard \"$SLURM_ARRAY_TASK_ID/{jobs}\"",
        array.command
    );
    script
}

/// Matrix of a job of GitHub Actions, as one line of JSON.
pub fn matrix(jobs: usize) -> String {
    let shards: Vec<String> = (1..=jobs).map(|job| format!("{job}/{jobs}")).collect();
    json!({ "shard": shards }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_a_job_for_each_shard() {
        let array = Array {
            experiment: "my digits",
            command: "tallow sweep 'my digits.toml' --threads 4",
            out: "my runs",
            jobs: 12,
            at_once: None,
            rungs: 1,
            threads: Some(4),
        };
        let script = slurm(&array);
        assert!(script.starts_with("#!/bin/bash\n#SBATCH "), "{script}");
        for line in [
            "#SBATCH --job-name=my-digits",
            "#SBATCH --array=1-12",
            "#SBATCH --cpus-per-task=4",
            "exec tallow sweep 'my digits.toml' --threads 4 --shard \"$SLURM_ARRAY_TASK_ID/12\"",
        ] {
            assert!(
                script.lines().any(|known| known == line),
                "{line} in\n{script}"
            );
        }
        assert!(script.contains("--collect 'my runs'"), "{script}");
        assert!(!script.contains("rung"), "{script}");
        // What sbatch reads comes before the first command.
        let command = script.find("\nexec ").unwrap();
        assert!(script.rfind("#SBATCH").unwrap() < command);
        let rungs = slurm(&Array {
            rungs: 3,
            at_once: Some(5),
            threads: None,
            ..array
        });
        assert_eq!(rungs.matches("sbatch --parsable").count(), 3, "{rungs}");
        assert!(rungs.contains("\n#SBATCH --array=1-12%5\n"), "{rungs}");
        assert!(!rungs.contains("#SBATCH --cpus-per-task"), "{rungs}");
    }

    #[test]
    fn a_matrix_has_a_shard_for_each_job() {
        assert_eq!(matrix(2), r#"{"shard":["1/2","2/2"]}"#);
    }
}
