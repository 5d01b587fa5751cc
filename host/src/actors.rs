//! The actors that the host has loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use ays_core::{Digest, manifest::Manifest, schema::SchemaId};
use ays_engine::{Actor, Compiled, Engine, LoadError};
use ays_package::{Signer, Trust};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{error, info};

use crate::{clock, log::Shown, package::PackageFile};

/// The actors of one folder, by name.
#[derive(Clone, Debug, Default)]
pub struct Actors {
    by_name: BTreeMap<String, Loaded>,
}

/// One actor and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The component.
    pub actor: Arc<Actor>,
    /// Its file.
    pub file: PathBuf,
    /// The names of its actions.
    pub actions: Arc<BTreeSet<String>>,
    /// The schema of its services' data.
    pub schema: SchemaId,
    /// Its size, and whether it was compiled for this, for people.
    pub how: String,
    /// Who signed it, where that was asked for.
    pub signer: Option<Signer>,
}

impl Loaded {
    /// Loads a component that is, or is to be, in this file. With `trust`, only if one of its keys signed it: before that,
    /// nothing of it is compiled or run.
    ///
    /// # Errors
    /// If it is no actor, or no trusted key signed it.
    pub async fn new(
        engine: &Engine,
        file: &Path,
        package: &PackageFile,
        trust: Option<&Trust>,
    ) -> anyhow::Result<Self> {
        let began = clock::instant();
        let check = |trust: &Trust| trust.check(&package.component, package.signature.as_deref());
        let signer = trust.map(check).transpose()?;
        let actor = engine.load(&package.component).await?;
        let how = match actor.compiled() {
            Compiled::Now => format!("compiled in {} ms", began.elapsed().as_millis()),
            Compiled::Cached => "compiled before".into(),
        };
        let signed = signer.as_ref().map(|signer| format!(", signed by {}", signer.key)).unwrap_or_default();
        let how = format!("{} KiB, {how}{signed}", actor.size() / 1024);
        let actions = actor.manifest().actions.iter().map(|action| action.name.clone()).collect();
        let schema = actor.manifest().schema_id();
        Ok(Self { actor, file: file.into(), actions: Arc::new(actions), schema, how, signer })
    }

    /// The actor's name.
    pub fn name(&self) -> &str {
        self.actor.manifest().name.as_str()
    }
}

/// A file that was not loaded, and why.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub why: String,
    /// Whether that is no fault of the file's, and may pass.
    pub may_pass: bool,
}

/// There is one of that name.
#[derive(Debug, thiserror::Error)]
#[error("the actor `{name}` was loaded from {} already; remove one", file.display())]
struct Duplicate {
    name: String,
    file: PathBuf,
}

/// Whether a file was not loaded for what is no fault of its own.
pub fn may_pass(why: &anyhow::Error) -> bool {
    why.is::<io::Error>()
        || why.is::<Duplicate>()
        || why.downcast_ref::<LoadError>().is_some_and(LoadError::may_pass)
}

impl Actors {
    /// Loads every `*.wasm` file of a folder, in order of name. A file that is no actor is told of and left out; the
    /// others are loaded all the same. With `trust`, so is one that none of its keys signed: nothing of it is compiled or
    /// run.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn load(
        engine: &Engine,
        folder: &Path,
        trust: Option<&Trust>,
    ) -> anyhow::Result<(Self, Vec<Refused>)> {
        let files = components(folder)?;
        let shown = Shown::new(progress(files.len()));
        let bar = &shown.0;
        let mut actors = Self::default();
        let mut refused = Vec::new();
        for file in files {
            bar.set_message(file.file_name().unwrap_or_default().to_string_lossy().into_owned());
            if let Err(why) = actors.add(engine, &file, trust).await {
                error!("{}: {why:#}", file.display());
                refused.push(Refused { file, why: format!("{why:#}"), may_pass: may_pass(&why) });
            }
            bar.inc(1);
        }
        Ok((actors, refused))
    }

    async fn add(&mut self, engine: &Engine, file: &Path, trust: Option<&Trust>) -> anyhow::Result<()> {
        let package = PackageFile::read_to_load(file, engine.component_bytes())?;
        let loaded = Loaded::new(engine, file, &package, trust).await?;
        let name = loaded.name();
        if let Some(other) = self.by_name.get(name) {
            return Err(Duplicate { name: name.to_owned(), file: other.file.clone() }.into());
        }
        info!(actor = name, "loaded actor {name} ({})", loaded.how);
        self.put(loaded);
        Ok(())
    }

    /// Puts an actor in place of the one of its name, which is returned.
    pub fn put(&mut self, new: Loaded) -> Option<Loaded> {
        self.by_name.insert(new.name().to_owned(), new)
    }

    /// This one alone.
    pub fn only(one: Loaded) -> Self {
        let mut actors = Self::default();
        actors.put(one);
        actors
    }

    /// The actor of this name.
    pub fn get(&self, name: &str) -> Option<&Loaded> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Loaded)> {
        self.by_name.iter().map(|(name, loaded)| (name.as_str(), loaded))
    }

    /// Their manifests, by name: what blueprints are planned with.
    pub fn manifests(&self) -> BTreeMap<String, Manifest> {
        self.iter()
            .map(|(name, loaded)| (name.to_owned(), Manifest::clone(loaded.actor.manifest())))
            .collect()
    }

    /// Their digests, by name: what blueprints pin.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.iter().map(|(name, loaded)| (name.to_owned(), loaded.actor.sha256())).collect()
    }
}

/// What is in the actors' folder.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_folder(folder: &Path) -> anyhow::Result<fs::ReadDir> {
    fs::read_dir(folder).with_context(|| {
        format!(
            "cannot read the actors' folder {}; `ays-host build` makes one, `--actors` names another",
            folder.display()
        )
    })
}

/// The `*.wasm` files of a folder, in order of name.
///
/// # Errors
/// If it cannot be read.
pub fn components(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in read_folder(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A bar on a terminal, nothing elsewhere.
fn progress(files: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("loading actors [{bar:30}] {pos}/{len} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
