//! A run that is killed several times ends with the same bits as one that is not.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{bytes, loaders, net, recipe};
use tallow_train::Trainer;

const EPOCHS: usize = 40;

/// Number of kills before the run may finish.
const KILLS: u64 = 10;

/// Process that is killed: continues from the last checkpoint, and saves its weights at the end.
#[test]
#[ignore = "run by the other test, in a process of its own"]
fn child() {
    let Some(dir) = std::env::var_os("TALLOW_TEST_KILL_IN").map(PathBuf::from) else {
        return;
    };
    train(&dir);
}

fn train(dir: &Path) -> Vec<u8> {
    let (net, store) = net(11);
    let (train, test) = loaders(11, 1);
    let mut trainer = Trainer::new(recipe(EPOCHS)).with_checkpoints(dir.join("checkpoint"));
    trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    bytes(&store, dir)
}

fn checkpoint(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("checkpoint"))
        .into_iter()
        .flatten();
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix("epoch-")?.parse().ok())
        .max()
        .unwrap_or(0)
}

/// Waits for the next checkpoint of the child, then kills it after `moment`; false if it finished.
fn killed(child: &mut Child, dir: &Path, moment: Duration) -> bool {
    let before = checkpoint(dir);
    while checkpoint(dir) == before {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(moment);
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

#[test]
fn killed_runs_end_with_the_same_bits() {
    let straight = tempfile::tempdir().unwrap();
    let expected = train(straight.path());

    let dir = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for round in 0..=KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored"])
            .env("TALLOW_TEST_KILL_IN", dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        if round == KILLS {
            assert!(child.wait().unwrap().success());
            break;
        }
        // From right after the rename into the next epoch and its checkpoint.
        if !killed(
            &mut child,
            dir.path(),
            Duration::from_millis(round * 7 % 30),
        ) {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 2, "killed {kills} times");
    let found = std::fs::read(dir.path().join("weights.safetensors")).unwrap();
    assert!(found == expected);
}
