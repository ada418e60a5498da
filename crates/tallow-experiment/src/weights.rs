//! Files of weights by name.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use tallow_datasets::{cache_dir, fetch_model_file};
use tallow_models::{
    LoadWeights, LoadedWeights, Model, Pretrained, WeightsProblem, checkpoints, shards,
};
use tallow_ops::LoadReport;
use tallow_record::write_atomic;

use crate::error::{Context, Error, Result};
use crate::preparation;

/// File of weights by name.
///
/// `hf:owner/name/file` is a file of a model on the Hugging Face hub, downloaded into the hub's cache. A path names itself. A bare
/// name that is no file in the current directory is looked up in the folder `TALLOW_WEIGHTS`, and in a folder `weights` beside the
/// folder of the data (`data_dir`, `TALLOW_DATA`). Fails with the list of all places.
pub fn find(name: impl AsRef<OsStr>, data_dir: Option<&Path>) -> Result<PathBuf> {
    let name = name.as_ref();
    if let Some(id) = name.to_str().and_then(|name| name.strip_prefix("hf:")) {
        return from_hub(id);
    }
    let folder = |variable| {
        env::var_os(variable)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    find_in(
        name,
        data_dir,
        folder("TALLOW_WEIGHTS"),
        folder("TALLOW_DATA"),
    )
}

/// File of a model on the hub: from its cache, or downloaded into it. `HF_ENDPOINT` names another hub, `HF_HOME` another cache.
fn from_hub(id: &str) -> Result<PathBuf> {
    let mut parts = id.splitn(3, '/');
    let (Some(owner), Some(model), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::Weights(format!(
            "`hf:{id}` is not a file on the Hugging Face hub; write hf:owner/name/file, as in hf:timm/resnet18.a1_in1k/model.safetensors"
        )));
    };
    let repository = format!("{owner}/{model}");
    let fetch = |file: &str| {
        fetch_model_file(&repository, file, None)
            .context(|| format!("cannot download hf:{owner}/{model}/{file}"))
    };
    let path = fetch(file)?;
    // Of weights in several files the index is given, which lists the others.
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    for shard in shards(&path) {
        if let Some(name) = shard.file_name().and_then(|name| name.to_str()) {
            fetch(format!("{folder}/{name}").trim_start_matches('/'))?;
        }
    }
    Ok(path)
}

/// File of published weights, with a sentence about its digest: downloaded from the hub into its cache at the first time.
///
/// The digest is compared with the one known beforehand. Where none is known, that of the first download is recorded in the user cache
/// (`pretrained/NAME.sha256`), and later files are compared with it.
///
/// # Errors
/// When the file can neither be found in the hub's cache nor be downloaded, and when its digest is another one.
pub(crate) fn find_pretrained(name: &str) -> Result<(PathBuf, String)> {
    let known = Pretrained::find(name).map_err(Error::Recipe)?;
    let path = from_hub(&format!("{}/{}", known.repository, known.file))?;
    let found = preparation::digest(&path)?;
    let source = format!(
        "pretrained {}: hf:{}/{} ({}), SHA-256 {found}",
        known.name, known.repository, known.file, known.licence
    );
    let recorded = cache_dir().map(|dir| {
        dir.join("pretrained")
            .join(format!("{}.sha256", known.name))
    });
    let note = check_digest(known, &path, &found, recorded.as_deref())?;
    Ok((path, format!("{source}{note}")))
}

/// Compares a digest with the known or the recorded one; records it if there is none.
fn check_digest(
    known: &Pretrained,
    path: &Path,
    found: &str,
    recorded: Option<&Path>,
) -> Result<&'static str> {
    let compare = |expected: &str, origin: String| match expected == found {
        true => Ok(()),
        false => Err(Error::Weights(format!(
            "{}: expected SHA-256 {expected} ({origin}), found {found}; the file is damaged or another one was published: delete it to download it again",
            path.display()
        ))),
    };
    if let Some(expected) = known.sha256 {
        compare(expected, "known of the published file".to_string())?;
        return Ok(", as published");
    }
    let Some(record) = recorded else {
        return Ok(
            ", not compared: no digest of the file is known, and there is no user cache to record it in",
        );
    };
    match fs::read_to_string(record) {
        Ok(text) => {
            let origin = format!(
                "recorded at the first download, in {}, which to delete if the file was published anew",
                record.display()
            );
            compare(text.trim(), origin)?;
            Ok(", as recorded at the first download")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_atomic(record, format!("{found}\n"))?;
            Ok(", recorded now: no digest of the file was known beforehand")
        }
        Err(error) => Err(Error::io("read", record)(error)),
    }
}

/// Loads a file of weights into a model. Returns notes for the user: the set of weights taken of several, and tensors left out.
pub(crate) fn load(model: &Model, path: &Path, options: &LoadWeights) -> Result<Vec<String>> {
    let loaded = model.load_weights(path, options).map_err(|error| {
        let head = model.head();
        match &error {
            tallow_models::Error::Weights {
                problem: WeightsProblem::Fit(report),
                ..
            } if !options.skip.contains(&head) && is_other_head(report, &head) => {
                let message = format!(
                    "the file has another last layer (`{head}`), for another number of classes than {}; to train a new last layer, set model.new_head = true",
                    model.classes()
                );
                Error::Context {
                    context: message,
                    source: Box::new(error.into()),
                }
            }
            _ => error.into(),
        }
    })?;
    Ok(notes(path, &loaded))
}

/// Whether all that does not fit is in the last layer.
fn is_other_head(report: &LoadReport, head: &str) -> bool {
    let misfits = (report.missing.iter()).chain(report.mis_shaped.iter().map(|m| &m.name));
    let mut misfits = misfits.peekable();
    let inside = |name: &String| {
        name.strip_prefix(head)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    // A head of another name or depth leaves names over.
    !head.is_empty()
        && misfits.peek().is_some()
        && misfits.all(inside)
        && report.unexpected.iter().all(inside)
}

fn notes(path: &Path, loaded: &LoadedWeights) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut notes = Vec::new();
    if !loaded.others.is_empty() {
        let key = match loaded.key.as_deref() {
            Some("") | None => "those without a prefix".to_string(),
            Some(key) => format!("`{key}`"),
        };
        let others: Vec<String> = (loaded.others.iter())
            .map(|key| match key.as_str() {
                "" => "names without a prefix".to_string(),
                key => format!("`{key}`"),
            })
            .collect();
        notes.push(format!(
            "{} has several sets of weights: {key} taken, not {}; --weights-key (model.weights_key in a recipe) takes another",
            path.display(),
            others.join(", "),
        ));
    }
    if !loaded.ignored.is_empty() {
        let shown = loaded.ignored.iter().take(SHOWN).cloned();
        let more = match loaded.ignored.len() > SHOWN {
            true => ", ...",
            false => "",
        };
        notes.push(format!(
            "{}: {} tensors beside the network left out: {}{more}",
            path.display(),
            loaded.ignored.len(),
            shown.collect::<Vec<_>>().join(", "),
        ));
    }
    notes
}

fn find_in(
    name: &OsStr,
    data_dir: Option<&Path>,
    weights: Option<PathBuf>,
    data: Option<PathBuf>,
) -> Result<PathBuf> {
    let given = Path::new(name);
    let mut looked = vec![("as given", given.to_path_buf())];
    if given.components().count() == 1 {
        let beside = |data: &Path| Some(data.canonicalize().ok()?.parent()?.join("weights"));
        let folders = [
            ("TALLOW_WEIGHTS", weights.clone()),
            ("beside --data", data_dir.and_then(beside)),
            ("beside TALLOW_DATA", data.as_deref().and_then(beside)),
        ];
        looked.extend(
            folders
                .into_iter()
                .filter_map(|(kind, dir)| Some((kind, dir?.join(name)))),
        );
    }
    if let Some((_, path)) = looked.iter().find(|(_, path)| path.is_file()) {
        return Ok(path.clone());
    }
    let mut message = format!("the weights `{}` are not here. Looked at:", name.display());
    for (kind, path) in &looked {
        message.push_str(&format!("\n  {kind}: {}", path.display()));
    }
    if weights.is_none() {
        message.push_str("\n  TALLOW_WEIGHTS: not set");
    }
    if let Some(known) = checkpoints()
        .iter()
        .find(|c| Some(c.file.as_ref()) == given.file_name())
    {
        message.push_str(&format!(
            "\nTo get them:\n  download {} ({}) into a folder and set TALLOW_WEIGHTS to it",
            known.url, known.licence
        ));
    }
    Err(Error::Weights(message))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn looks_in_the_folder_of_weights_and_beside_the_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["own", "weights", "data"] {
            fs::create_dir(path(folder)).unwrap();
        }
        let find = |weights: Option<&str>| {
            find_in("w.th".as_ref(), None, weights.map(path), Some(path("data")))
        };
        let message = find(None).unwrap_err().to_string();
        for part in [
            "`w.th`",
            "as given: w.th",
            "beside TALLOW_DATA",
            "TALLOW_WEIGHTS: not set",
        ] {
            assert!(message.contains(part), "{message}");
        }
        fs::write(path("weights/w.th"), "").unwrap();
        assert!(find(Some("own")).unwrap().ends_with("weights/w.th"));
        fs::write(path("own/w.th"), "").unwrap();
        assert!(find(Some("own")).unwrap().ends_with("own/w.th"));
        // Where a path leads nowhere, no other file of that name will do.
        assert!(find_in("no/w.th".as_ref(), None, Some(path("own")), None).is_err());
        let known = find_in(
            "resnet20-12fca82f.th".as_ref(),
            None,
            Some(path("own")),
            None,
        );
        assert!(
            known
                .unwrap_err()
                .to_string()
                .contains("https://github.com/akamaster/")
        );
    }
}
