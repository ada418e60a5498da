//! Copy of the source with a fault in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Name of the source without a fault.
pub const CONTROL: &str = "control";

/// Source to be judged.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The source without a fault.
    Control,
    /// The source with a patch applied.
    Patch {
        /// Name of the fault.
        name: String,
        /// File of the patch; its first lines say what is wrong.
        path: PathBuf,
        /// Whether `regress` was made with this fault in mind.
        shaped: bool,
    },
}

impl Fault {
    /// The control, and all faults of the repository.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let mut all = vec![Self::Control];
        let folder = root.join("xtask/mutations");
        for (folder, shaped) in [
            (folder.clone(), true),
            (folder.join("out-of-sample"), false),
        ] {
            let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
            for entry in entries {
                let path = entry?.path();
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().into());
                if let (Some(name), Some("patch")) =
                    (stem, path.extension().and_then(|e| e.to_str()))
                {
                    all.push(Self::Patch { name, path, shaped });
                }
            }
        }
        Ok(all)
    }

    /// Name.
    pub fn name(&self) -> &str {
        match self {
            Self::Control => CONTROL,
            Self::Patch { name, .. } => name,
        }
    }

    /// Description: the text above the patch.
    pub fn what(&self) -> Result<String> {
        let Self::Patch { path, .. } = self else {
            return Ok("The source without a fault.".to_string());
        };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let what = text.split("\n\n").next().unwrap_or_default();
        Ok(what.trim().to_string())
    }
}

/// Copies the source to `to`. Files that are the same already are left alone, so that cargo need not build them again.
pub fn copy_source(root: &Path, to: &Path) -> Result<()> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("cannot run git, which lists the files of the source")?;
    ensure!(
        listed.status.success(),
        "git does not list the files of the source: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    for name in String::from_utf8(listed.stdout)?.split('\0') {
        let (from, to) = (root.join(name), to.join(name));
        // A file that was deleted and is still listed.
        let Some(bytes) = (!name.is_empty()).then(|| fs::read(&from).ok()).flatten() else {
            continue;
        };
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
            fs::write(&to, bytes).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

/// Applies the patch of a fault to a copy of the source.
pub fn apply(tree: &Path, fault: &Fault, arguments: &[&str]) -> Result<()> {
    let Fault::Patch { name, path, .. } = fault else {
        return Ok(());
    };
    let output = Command::new("git")
        // The copy lies inside a repository whose index has nothing to say here.
        .env("GIT_DIR", tree.join("no-repository"))
        .arg("apply")
        .args(arguments)
        .arg(path)
        .current_dir(tree)
        .output()?;
    ensure!(
        output.status.success(),
        "{name} does not apply: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Copy of the source with a fault in it.
pub struct Tree {
    /// Folder.
    pub folder: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Makes the copy `tree` in `folder` of what it was before.
    pub fn with(root: &Path, folder: &Path, fault: &Fault) -> Result<Self> {
        let tree = Self {
            folder: folder.join("tree"),
            target: folder.join("build"),
        };
        fs::create_dir_all(&tree.folder)?;
        copy_source(root, &tree.folder)?;
        apply(&tree.folder, fault, &[])?;
        Ok(tree)
    }

    /// Builds the program.
    pub fn build(&self) -> Result<PathBuf> {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--package", "xtask"])
            .arg("--target-dir")
            .arg(&self.target)
            .current_dir(&self.folder)
            .status()?;
        if !status.success() {
            bail!("{} does not build", self.folder.display());
        }
        let program = format!("xtask{}", std::env::consts::EXE_SUFFIX);
        Ok(self.target.join("release").join(program))
    }
}
