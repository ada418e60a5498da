//! Embeds `experiments/*.toml`: writes the list of their names and texts for `src/builtin.rs`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=experiments");
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let folder = variable("CARGO_MANIFEST_DIR").join("experiments");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort_by_key(|path| stem(path));
    let names: Vec<String> = files.iter().map(|path| stem(path)).collect();
    let mut list = format!("pub(crate) const NAMES: &[&str] = &{names:?};\n");
    list.push_str("pub(crate) const TEXTS: &[&str] = &[\n");
    for path in &files {
        let _ = writeln!(list, "    include_str!({:?}),", path.display().to_string());
    }
    list.push_str("];\n");
    fs::write(variable("OUT_DIR").join("builtin.rs"), list)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
