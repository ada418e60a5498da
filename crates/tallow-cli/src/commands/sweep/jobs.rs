//! Jobs that train the shards of a sweep: a Slurm array, and a matrix of GitHub Actions.

use std::fmt::Write;

use serde_json::json;

/// Slurm array job.
pub struct Array<'a> {
    /// Name of the experiment.
    pub experiment: &'a str,
    /// Command of the sweep, without a shard.
    pub command: &'a str,
    /// Number of jobs in it.
    pub jobs: usize,
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
    let mut script = format!(
        "#!/bin/bash\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=1-{jobs}\n\
         #SBATCH --output={name}-%A-%a.log\n\
         # Before the time limit, so that a checkpoint is written.\n\
         #SBATCH --signal=B:TERM@120\n"
    );
    if let Some(threads) = array.threads {
        let _ = writeln!(script, "#SBATCH --cpus-per-task={threads}");
    }
    script.push_str(
        "# Add what the cluster needs, such as --time, --mem, --partition and --gres.\n\
         #\n\
         # Submit it in the folder in which the command below works. Submitted again, it goes on where it was.\n",
    );
    if array.rungs > 1 {
        let _ = writeln!(
            script,
            "# The sweep has {} rungs, and each submission trains one of them, in a folder that all jobs see:",
            array.rungs
        );
        script.push_str("#   job=$(sbatch --parsable THIS)\n");
        for _ in 1..array.rungs {
            script.push_str("#   job=$(sbatch --parsable --dependency=afterok:$job THIS)\n");
        }
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
            jobs: 12,
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
        assert!(!script.contains("rung"), "{script}");
        let rungs = slurm(&Array { rungs: 3, ..array });
        assert_eq!(rungs.matches("sbatch --parsable").count(), 3, "{rungs}");
    }

    #[test]
    fn a_matrix_has_a_shard_for_each_job() {
        assert_eq!(matrix(2), r#"{"shard":["1/2","2/2"]}"#);
    }
}
