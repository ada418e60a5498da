//! Folder for a machine with a GPU: programs, scripts and data.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// File by which a folder of an earlier call is known.
const REPORT: &str = "report.py";

/// Archive of the programs.
const ARCHIVE: &str = "programs.tar.xz";

/// Contents of a package.
pub struct Packed<'a> {
    pub out: &'a Path,
    /// Names and files.
    pub programs: &'a [(String, PathBuf)],
    /// Folder with the scripts `cuda/*.py`, of which `report.py` is run, and `pytorch/*.py`.
    pub scripts: &'a Path,
    /// Folder of CIFAR-10.
    pub data: Option<&'a Path>,
    /// Most bytes.
    pub limit: u64,
}

/// Checks that the folder is new, or of an earlier call.
pub fn check_out(out: &Path) -> Result<()> {
    let is_new = !out.exists() || out.is_dir() && fs::read_dir(out)?.next().is_none();
    ensure!(
        is_new || out.join(REPORT).is_file(),
        "{}: exists and is not of cuda-build; name another folder with --out",
        out.display()
    );
    Ok(())
}

/// Packs, and returns a table of the sizes.
pub fn pack(packed: &Packed) -> Result<String> {
    let out = packed.out;
    check_out(out)?;
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| out.display().to_string())?;
    }
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let staging = tempfile::tempdir()?;
    for (name, program) in packed.programs {
        run(Command::new("strip")
            .arg("-o")
            .arg(staging.path().join(name))
            .arg(program))?;
    }
    let names = packed.programs.iter().map(|(name, _)| name);
    run(Command::new("tar")
        // The programs have much in common, further apart than xz looks back by default.
        .env("XZ_OPT", "--lzma2=preset=9e,dict=192MiB")
        .arg("-cJf")
        .arg(std::path::absolute(out.join(ARCHIVE))?)
        .arg("-C")
        .arg(staging.path())
        .args(names))?;
    copy_all(&packed.scripts.join("cuda"), out, "py")?;
    copy_all(&packed.scripts.join("pytorch"), &out.join("pytorch"), "py")?;
    if let Some(data) = packed.data {
        copy_all(data, &out.join("data/cifar10"), "parquet")?;
    }
    let (table, bytes) = sizes(out)?;
    ensure!(
        bytes <= packed.limit,
        "{table}\nmore than {} MB: --without-data leaves CIFAR-10 out, and --limit allows more",
        packed.limit / 1_000_000
    );
    Ok(table)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} failed ({status})");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Copies the files of a folder that have an extension.
fn copy_all(from: &Path, to: &Path, extension: &str) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    let mut found = false;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let Some(name) = path
            .file_name()
            .filter(|_| path.extension().is_some_and(|e| e == extension))
        else {
            continue;
        };
        copy(&path, &to.join(name))?;
        found = true;
    }
    if !found {
        bail!("{}: has no *.{extension}", from.display());
    }
    Ok(())
}

/// Table of the files below a folder, and their bytes in all.
fn sizes(folder: &Path) -> Result<(String, u64)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64)>) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => walk(&entry.path(), found)?,
                false => found.push((entry.path(), entry.metadata()?.len())),
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, &mut found)?;
    found.sort();
    let total = found.iter().map(|(_, bytes)| bytes).sum();
    let mut table = String::new();
    for (path, bytes) in &found {
        let name = path.strip_prefix(folder).unwrap_or(path);
        let _ = writeln!(table, "{:>8.2} MB  {}", *bytes as f64 / 1e6, name.display());
    }
    let _ = write!(table, "{:>8.2} MB  in all", total as f64 / 1e6);
    Ok((table, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_something_else_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        check_out(&dir.path().join("new")).unwrap();
        check_out(dir.path()).unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        let message = check_out(dir.path()).unwrap_err().to_string();
        assert!(message.contains("--out"), "{message}");
        fs::write(dir.path().join(REPORT), "").unwrap();
        check_out(dir.path()).unwrap();
    }

    #[test]
    fn sizes_are_those_of_all_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("a"), vec![0; 1_500_000]).unwrap();
        fs::write(dir.path().join("b/c"), vec![0; 250_000]).unwrap();
        let (table, total) = sizes(dir.path()).unwrap();
        assert_eq!(total, 1_750_000);
        assert!(table.ends_with("1.75 MB  in all"), "{table}");
        assert!(table.contains("0.25 MB  b/c"), "{table}");
    }

    #[test]
    fn files_that_are_missing_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let message = copy_all(dir.path(), &to, "parquet")
            .unwrap_err()
            .to_string();
        assert!(message.contains("has no *.parquet"), "{message}");
    }
}
