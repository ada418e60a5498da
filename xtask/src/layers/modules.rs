//! Imports between the modules of a crate.
//!
//! A path is followed to the module that defines the item it names: `crate::Error` counts as an import of `crate::error`, where
//! `lib.rs` re-exports it from there. Re-exports themselves are no imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::tokens::{Token, tokens};

/// Path of a module in its crate: `["kernels", "conv"]`; the root is empty.
type ModulePath = Vec<String>;

/// Source file of a crate.
#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    /// Names that its `use` items bring in, with the path of each.
    uses: BTreeMap<String, Import>,
    /// Paths of its glob imports.
    globs: Vec<Import>,
    /// Names of the items it defines.
    items: BTreeSet<String>,
    /// Paths in its code that are not part of a `use` item.
    paths: Vec<Vec<String>>,
}

/// Import of a name.
#[derive(Clone, Debug)]
struct Import {
    path: Vec<String>,
    /// Whether it is a re-export.
    public: bool,
}

/// Modules of a crate and the imports between them.
#[derive(Debug)]
pub struct ModuleGraph {
    modules: BTreeMap<ModulePath, Module>,
    edges: BTreeMap<ModulePath, BTreeSet<ModulePath>>,
}

impl ModuleGraph {
    /// Reads the sources below `src`.
    pub fn read(src: &Path) -> Result<Self> {
        let mut modules = BTreeMap::new();
        collect(src, &mut Vec::new(), &mut modules)?;
        let mut graph = Self {
            modules,
            edges: BTreeMap::new(),
        };
        graph.link();
        Ok(graph)
    }

    /// Import circles: the files of each, sorted.
    pub fn circles(&self) -> Vec<Vec<PathBuf>> {
        let reach: BTreeMap<_, _> = self
            .modules
            .keys()
            .map(|m| (m, self.reachable(m)))
            .collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for module in self.modules.keys() {
            if seen.contains(module) || !reach[module].contains(module) {
                continue;
            }
            let circle: Vec<&ModulePath> = reach[module]
                .iter()
                .copied()
                .filter(|other| reach[other].contains(module))
                .collect();
            seen.extend(circle.iter().copied().cloned());
            let mut files: Vec<PathBuf> = circle
                .iter()
                .map(|m| self.modules[*m].file.clone())
                .collect();
            files.sort();
            circles.push(files);
        }
        circles
    }

    /// Imports of each file that lie within `files`.
    pub fn imports_within(&self, files: &[PathBuf]) -> Vec<(PathBuf, PathBuf)> {
        let file = |module: &ModulePath| self.modules[module].file.clone();
        let pairs = self
            .edges
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
        pairs
            .map(|(from, to)| (file(from), file(to)))
            .filter(|(from, to)| files.contains(from) && files.contains(to))
            .collect()
    }

    /// Number of modules and of imports between them.
    pub fn size(&self) -> (usize, usize) {
        (
            self.modules.len(),
            self.edges.values().map(BTreeSet::len).sum(),
        )
    }

    fn reachable(&self, from: &ModulePath) -> BTreeSet<&ModulePath> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&ModulePath> = self.edges.get(from).into_iter().flatten().collect();
        while let Some(module) = open.pop() {
            if found.insert(module) {
                open.extend(self.edges.get(module).into_iter().flatten());
            }
        }
        found
    }

    fn link(&mut self) {
        let mut edges = BTreeMap::new();
        for (place, module) in &self.modules {
            let imports = module.uses.values().chain(&module.globs);
            let imports = imports
                .filter(|import| !import.public)
                .map(|import| &import.path);
            let targets: BTreeSet<ModulePath> = imports
                .chain(&module.paths)
                .filter_map(|path| self.resolve(place, path, 0))
                .filter(|target| target != place)
                .collect();
            edges.insert(place.clone(), targets);
        }
        self.edges = edges;
    }

    /// Module that defines what `path` names, seen from `place`; `None` for other crates and local names.
    fn resolve(&self, place: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Vec::new(),
            "self" => place.clone(),
            "super" => place.split_last().map(|(_, parent)| parent.to_vec())?,
            name => {
                let child = joined(place, name);
                if self.modules.contains_key(&child) {
                    return self.descend(child, rest, depth);
                }
                // A module that was imported by name.
                let import = self.modules.get(place)?.uses.get(name)?;
                if import.path.first().is_some_and(|own| own == name) || depth > 8 {
                    return None;
                }
                let target = self.resolve(place, &import.path, depth + 1)?;
                let is_module = target.last() == import.path.last();
                return if is_module {
                    self.descend(target, rest, depth)
                } else {
                    Some(target)
                };
            }
        };
        if first == "super" && rest.first().is_some_and(|next| next == "super") {
            return self.resolve(&start, rest, depth);
        }
        self.descend(start, rest, depth)
    }

    fn descend(&self, start: ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let mut here = start;
        for (i, name) in path.iter().enumerate() {
            let child = joined(&here, name);
            if self.modules.contains_key(&child) {
                here = child;
                continue;
            }
            let module = self.modules.get(&here)?;
            if module.items.contains(name) || depth > 8 {
                return Some(here);
            }
            if let Some(import) = module.uses.get(name) {
                let mut longer = import.path.clone();
                longer.extend_from_slice(&path[i + 1..]);
                return self.resolve(&here, &longer, depth + 1);
            }
            for glob in &module.globs {
                if let Some(target) = self.resolve(&here, &glob.path, depth + 1)
                    && self.modules[&target].items.contains(name)
                {
                    return Some(target);
                }
            }
            return Some(here);
        }
        Some(here)
    }
}

fn joined(place: &ModulePath, name: &str) -> ModulePath {
    let mut path = place.clone();
    path.push(name.to_string());
    path
}

fn collect(
    dir: &Path,
    place: &mut ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut entries = entries
        .map(|e| Ok(e?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    entries.sort();
    for path in entries {
        let Some(stem) = path
            .file_stem()
            .and_then(|s| s.to_str())
            .map(str::to_string)
        else {
            continue;
        };
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            place.push(stem);
            collect(&path, place, modules)?;
            place.pop();
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let mut name = place.clone();
            if !matches!(stem.as_str(), "lib" | "main" | "mod") {
                name.push(stem);
            }
            let module = read_module(path, &tokens(&text));
            modules.insert(name, module);
        }
    }
    Ok(())
}

fn read_module(file: PathBuf, tokens: &[Token]) -> Module {
    let mut module = Module {
        file,
        ..Module::default()
    };
    let mut i = 0;
    let mut public = false;
    while i < tokens.len() {
        match tokens[i].word() {
            Some("pub") => {
                public = true;
                i += 1;
                if tokens.get(i).is_some_and(|t| t.is('(')) {
                    while i < tokens.len() && !tokens[i].is(')') {
                        i += 1;
                    }
                    i += 1;
                }
                continue;
            }
            Some("use") => {
                i = read_use(tokens, i + 1, &mut Vec::new(), public, &mut module);
            }
            Some("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union") => {
                if let Some(name) = tokens.get(i + 1).and_then(Token::word) {
                    module.items.insert(name.to_string());
                }
                i += 1;
            }
            Some("macro_rules") => {
                if let Some(name) = tokens.get(i + 2).and_then(Token::word) {
                    module.items.insert(name.to_string());
                }
                i += 1;
            }
            Some(word) if tokens.get(i + 1) == Some(&Token::PathSeparator) => {
                let mut path = vec![word.to_string()];
                i += 1;
                while tokens.get(i) == Some(&Token::PathSeparator) {
                    match tokens.get(i + 1).and_then(Token::word) {
                        Some(next) => path.push(next.to_string()),
                        None => break,
                    }
                    i += 2;
                }
                module.paths.push(path);
            }
            _ => i += 1,
        }
        public = false;
    }
    module
}

/// Reads a tree of a `use` item whose first token is at `i`; returns the index after it.
fn read_use(
    tokens: &[Token],
    mut i: usize,
    prefix: &mut Vec<String>,
    public: bool,
    module: &mut Module,
) -> usize {
    let depth = prefix.len();
    let mut alias = None;
    while let Some(token) = tokens.get(i) {
        match token {
            Token::Word(word) if word == "as" => {
                alias = tokens.get(i + 1).and_then(Token::word).map(str::to_string);
                i += 1;
            }
            Token::Word(word) => prefix.push(word.clone()),
            Token::Symbol('*') => {
                module.globs.push(Import {
                    path: prefix.clone(),
                    public,
                });
                prefix.truncate(depth);
            }
            Token::Symbol('{') => {
                i += 1;
                while tokens.get(i).is_some_and(|t| !t.is('}')) {
                    i = read_use(tokens, i, prefix, public, module);
                    if tokens.get(i).is_some_and(|t| t.is(',')) {
                        i += 1;
                    }
                }
                prefix.truncate(depth);
            }
            Token::Symbol(',' | '}' | ';') => break,
            _ => {}
        }
        i += 1;
    }
    if prefix.len() > depth {
        let mut path = prefix.clone();
        // `use a::{self, b}` names `a`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(name) = alias.or_else(|| path.last().cloned()) {
            module.uses.insert(name, Import { path, public });
        }
    }
    prefix.truncate(depth);
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> ModuleGraph {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        ModuleGraph::read(dir.path()).unwrap()
    }

    fn names(graph: &ModuleGraph) -> Vec<Vec<String>> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        graph
            .circles()
            .iter()
            .map(|c| c.iter().map(name).collect())
            .collect()
    }

    #[test]
    fn a_circle_through_a_re_export_is_found() {
        let circle = graph(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::B; pub struct A(B);"),
            ("b.rs", "pub struct B; fn f() -> Option<crate::A> { None }"),
        ]);
        assert_eq!(names(&circle), [["a.rs", "b.rs"]]);
        let line = graph(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::B; pub struct A(B);"),
            (
                "b.rs",
                "pub struct B; #[cfg(test)] mod tests { use crate::A; }",
            ),
        ]);
        assert!(names(&line).is_empty());
        assert_eq!(line.size(), (3, 1));
    }

    #[test]
    fn a_parent_may_re_export_its_children_but_not_use_them_both_ways() {
        let re_export = graph(&[
            ("lib.rs", "mod m;"),
            (
                "m/mod.rs",
                "mod c; pub(crate) use c::{C, D as E}; pub fn helper() {}",
            ),
            ("m/c.rs", "use super::helper; pub struct C; pub struct D;"),
        ]);
        assert!(names(&re_export).is_empty());
        let both = graph(&[
            ("lib.rs", "mod m;"),
            ("m/mod.rs", "mod c; use c::C; pub fn helper() -> C { C }"),
            ("m/c.rs", "pub struct C; fn f() { super::helper(); }"),
        ]);
        assert_eq!(names(&both), [["c.rs", "mod.rs"]]);
    }

    #[test]
    fn modules_imported_by_name_are_followed() {
        let found = graph(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            (
                "a.rs",
                "use crate::{b, c::{self, C}}; fn f() { b::g(); c::h(); }",
            ),
            ("b.rs", "use super::c::*; pub fn g() { C; }"),
            ("c.rs", "pub struct C; pub fn h() { crate::a::f() }"),
        ]);
        assert_eq!(names(&found), [["a.rs", "b.rs", "c.rs"]]);
    }
}
