//! New versions of actors, while the host runs.
//!
//! A version comes by a file in the actors' folder, or by the API, which puts it there. It is compiled beside the one in
//! service, and looked at: is it an actor, is it granted what it asks for, does it have what its services call, do the
//! data of all its services fit. Only then does it take the other's place, between any two jobs. One that is refused changes
//! nothing. Versions of one actor come one after the other, and keep those of other actors waiting only while they are compiled.
//!
//! The folder is looked at again and again. Notifications of changes (inotify and its like) are not sent by network file
//! systems, nor for files that are changed on the other side of a container's mount, which is how folders of actors often
//! come to a host; and what they save is nothing here: the status of some files, twice a second.

mod calls;
mod defaults;
mod examine;
mod files;
mod fit;
mod folder;
mod rehearsal;
mod turns;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as Lock, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use ays_core::{Timestamp, job::Failure, manifest::LimitPolicy};
use ays_engine::Engine;
use ays_package::Trust;
use ays_store::Store;
use serde::Serialize;
use tokio::{
    runtime,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

pub use self::fit::{Fitted, fit};
use self::{
    examine::Unfit,
    files::{Content, Files, State},
    folder::{Staged, Stamp},
    turns::Turns,
};
use crate::{
    actors::{self, Loaded},
    apply::Source,
    clock,
    granting::Granting,
    live::Live,
    metrics::{Metrics, Outcome},
    package::PackageFile,
};

/// How often the folder is looked at. A file is loaded when it has stayed the same from one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Services whose data are looked at at a time.
const PAGE: usize = 100;
/// How many of those whose data do not fit are told.
const FAULTS: usize = 3;

/// A version that was not put into service.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Its file; none if it came by the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What it says its actor is; none if it is no actor.
    #[serde(skip)]
    name: Option<String>,
    /// Its digest, if it is an actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Arc<str>>,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// What became of a version.
#[derive(Clone, Debug, Serialize)]
pub struct Upgraded {
    /// The actor's name.
    pub name: String,
    /// Its digest now.
    pub digest: Arc<str>,
    /// The digest of the version that was in service before, if there was one.
    pub before: Option<Arc<str>>,
    /// Its file.
    pub file: PathBuf,
}

/// Why a version that came by the API is not in service.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is not to be; says why.
    #[error("{0}")]
    Refused(String),
    /// Its place in the folder is not its own; says whose it is.
    #[error("{0}")]
    Conflict(String),
    /// It could not be kept.
    #[error("{0:#}")]
    NotKept(anyhow::Error),
}

/// Where new versions come from, and what they must stand up to.
pub struct Settings {
    /// The actors' folder.
    pub folder: PathBuf,
    /// Whether actors are granted what they ask for.
    pub grant: bool,
    /// Limits of `migrate`.
    pub limits: LimitPolicy,
    /// Whose signature a version needs, if any.
    pub trust: Option<Trust>,
    /// The blueprints whose pins hold as long as the host runs.
    pub pinned: Vec<Source>,
    /// Where versions are counted by what became of them.
    pub metrics: Metrics,
}

/// Puts new versions into service.
pub struct Upgrades {
    settings: Settings,
    engine: Arc<Engine>,
    live: Live,
    granting: Arc<Granting>,
    store: Arc<dyn Store>,
    guests: runtime::Handle,
    /// The files of the folder. Not locked for longer than it takes to look at the folder, or to put one there.
    files: Mutex<Files>,
    turns: Turns,
    refused: Lock<Vec<Refused>>,
    /// One at a time.
    uploads: Arc<Semaphore>,
    /// One component is held in memory and compiled at a time.
    loading: Arc<Semaphore>,
    /// What sets what is new in manifests.
    setting: TaskTracker,
    /// What loads components, until the host ends.
    loads: TaskTracker,
    ending: CancellationToken,
}

/// The right to upload.
pub struct UploadTurn(
    #[expect(dead_code, reason = "it is given back when it is dropped")] Option<OwnedSemaphorePermit>,
);

impl Upgrades {
    /// With the actors in service as they were loaded from the folder, whose files were these before.
    pub fn new(
        settings: Settings,
        engine: Arc<Engine>,
        live: Live,
        granting: Arc<Granting>,
        store: Arc<dyn Store>,
        guests: runtime::Handle,
        seen: Seen,
    ) -> Arc<Self> {
        let mut files = Files::default();
        let now = live.now();
        for (file, stamp) in seen.stamps {
            let held = now.iter().find(|(_, loaded)| loaded.file == file);
            let (state, content) = match held {
                Some((name, _)) => (State::Settled, Content::Actor(name.to_owned())),
                None if seen.again.contains(&file) => (State::Changed, Content::Unknown),
                None => (State::Settled, Content::NoActor),
            };
            files.put(file, stamp, state, content);
        }
        let one = || Arc::new(Semaphore::new(1));
        Arc::new(Self {
            settings,
            engine,
            live,
            granting,
            store,
            guests,
            files: Mutex::new(files),
            turns: Turns::default(),
            refused: Lock::default(),
            uploads: one(),
            loading: one(),
            setting: TaskTracker::new(),
            loads: TaskTracker::new(),
            ending: CancellationToken::new(),
        })
    }

    /// Gives up components that are being loaded, and waits until the services of versions that were put into service have
    /// what is new in their manifests: no later host sets it.
    pub async fn end(&self) {
        self.ending.cancel();
        self.loads.close();
        self.loads.wait().await;
        self.setting.close();
        self.setting.wait().await;
    }

    /// The greatest component, in bytes.
    pub fn component_bytes(&self) -> u64 {
        self.engine.component_bytes()
    }

    /// Waits until it is the turn of another upload.
    ///
    /// # Errors
    /// Why there are none on this host.
    pub async fn accept_upload(&self) -> Result<UploadTurn, String> {
        if self.settings.trust.is_some() {
            let why = "this host loads signed components alone (`serve --trust`), and what comes by the API has no signature; \
                       put the component and its signature into the actors' folder";
            return Err(why.into());
        }
        // It is never closed.
        Ok(UploadTurn(self.uploads.clone().acquire_owned().await.ok()))
    }

    /// Puts a version into service, and into the folder, where it is found at the next start. `turn` ends when the
    /// component is no longer held in memory.
    ///
    /// # Errors
    /// If it is no actor, or not granted what it asks for, or its services' data do not fit; if its file is another actor's;
    /// or if it cannot be written.
    pub async fn upload(&self, turn: UploadTurn, component: Vec<u8>) -> Result<Upgraded, UploadError> {
        let refuse = |refused: Refused| UploadError::Refused(self.refuse(refused));
        // Only its folder says who signed it.
        let package = Arc::new(PackageFile { component, signature: None });
        let loading = self.turn_to_load().await;
        let mut loaded = self
            .load(loading, None, package.clone())
            .await
            .map_err(|why| refuse(refused(None, None, why)))?;
        let name = loaded.name().to_owned();
        let conflict = |loaded: &Loaded, why: String| {
            UploadError::Conflict(self.refuse(refused(None, Some(loaded), anyhow::anyhow!(why))))
        };
        let Some(place_in_line) = self.turns.queue(&name) else {
            let why = format!(
                "a version of {name} is being put into service, and another one waits; upload it again when they are done"
            );
            return Err(conflict(&loaded, why));
        };
        let folder = self.settings.folder.clone();
        let staged = blocking(move || Staged::new(&package.component, &folder)).await?;
        drop(turn);
        let _turn = place_in_line.turn().await;
        let (place, _) =
            self.place_for(&*self.files.lock().await, &name).map_err(|why| conflict(&loaded, why))?;
        loaded.file = place;
        match self.examine(&loaded, &CancellationToken::new()).await {
            Ok(()) => {}
            Err(Unfit::AsThingsAre(why) | Unfit::ByData(why)) => {
                return Err(refuse(refused(None, Some(&loaded), why)));
            }
            Err(Unfit::GivenUp) => {
                return Err(UploadError::NotKept(anyhow::anyhow!("the host gave up looking at it")));
            }
        }
        {
            let mut files = self.files.lock().await;
            // What is there may have become another one's meanwhile.
            let (place, replace) = self.place_for(&files, &name).map_err(|why| conflict(&loaded, why))?;
            loaded.file = place.clone();
            // Last of all: what is granted stays.
            self.grant(&loaded).await.map_err(|why| refuse(refused(None, Some(&loaded), why)))?;
            let signed = self.signed();
            let stamp = blocking(move || {
                staged.place(&place, replace)?;
                Stamp::of(&place, signed).with_context(|| format!("cannot read {}", place.display()))
            });
            files.put(loaded.file.clone(), stamp.await?, State::Settled, Content::Actor(name));
        }
        Ok(self.put(loaded).await)
    }

    fn place_for(&self, files: &Files, name: &str) -> Result<(PathBuf, bool), String> {
        files.place_for(name, &self.settings.folder, &self.live.now(), |file| self.stamp(file))
    }

    /// Whether a component must be signed.
    fn signed(&self) -> bool {
        self.settings.trust.is_some()
    }

    fn stamp(&self, file: &Path) -> io::Result<Stamp> {
        Stamp::of(file, self.signed())
    }

    /// The version of this actor that was refused last, if the one in service has stayed for that.
    pub fn refused(&self, loaded: &Loaded) -> Option<Refused> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this = |refused: &&Refused| match &refused.name {
            Some(name) => name == loaded.name(),
            None => refused.file.as_ref() == Some(&loaded.file),
        };
        refused.iter().rev().find(of_this).cloned()
    }

    /// The right to hold a component in memory and to compile it.
    async fn turn_to_load(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.loading.clone().acquire_owned().await.ok()
    }

    /// Compiles a component, and asks it what it is. Meanwhile the guests' threads do what they do.
    async fn load(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        file: Option<&Path>,
        package: Arc<PackageFile>,
    ) -> anyhow::Result<Loaded> {
        let (engine, guests) = (self.engine.clone(), self.guests.clone());
        let (file, trust) = (file.unwrap_or(Path::new("")).to_owned(), self.settings.trust.clone());
        let ending = self.ending.clone();
        let load = move || {
            let loading = Loaded::new(&engine, &file, &package, trust.as_ref());
            let loaded = guests.block_on(ending.run_until_cancelled(loading));
            drop((package, turn));
            loaded.unwrap_or_else(|| Err(anyhow::anyhow!("the host is stopping")))
        };
        self.loads.spawn_blocking(load).await.context("loading it died")?
    }

    /// Puts a version into service.
    async fn put(&self, new: Loaded) -> Upgraded {
        let (name, digest, file) = (new.name().to_owned(), new.actor.digest().clone(), new.file.clone());
        let how = new.how.clone();
        let manifest = new.actor.manifest().clone();
        let replaced = self.live.put(new);
        // Before the switch they would call what the version before does not have. A task of its own: whoever uploaded the
        // version may hang up meanwhile, and the host may be told to stop.
        let before = replaced.as_ref().map(|before| before.actor.manifest().clone());
        let adding = self.setting.spawn(defaults::set(before, manifest, self.store.clone()));
        let before = replaced.as_ref().map(|before| before.actor.digest().clone());
        let is_past =
            |refused: &Refused| refused.name.as_ref() == Some(&name) || refused.file.as_ref() == Some(&file);
        self.clear(is_past);
        self.settings.metrics.upgrade(match &before {
            Some(before) if *before == digest => Outcome::Unchanged,
            Some(_) => Outcome::Upgraded,
            None => Outcome::Added,
        });
        match &before {
            Some(before) if *before == digest => info!(actor = name, "actor {name} is as it was ({digest})"),
            Some(before) => {
                self.granting.forget(before);
                info!(actor = name, "upgraded actor {name} ({how}): {before} → {digest}");
            }
            None => info!(actor = name, "loaded actor {name} ({how}): {digest}"),
        }
        if let Err(died) = adding.await {
            error!(actor = name, "setting what is new in the manifest of {name} died: {died}");
        }
        Upgraded { name, digest, before, file }
    }

    /// Keeps that a version was refused, and tells it. Returns why.
    fn refuse(&self, refused: Refused) -> String {
        let what = match (&refused.file, &refused.name) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(name)) => format!("the version of {name} that came by the API"),
            (None, None) => "what came by the API as an actor".into(),
        };
        let stays = match &refused.name {
            Some(name) => self.live.now().get(name).map(|loaded| loaded.name().to_owned()),
            None => {
                let now = self.live.now();
                let same = now.iter().find(|(_, loaded)| refused.file.as_ref() == Some(&loaded.file));
                same.map(|(name, _)| name.to_owned())
            }
        };
        let stays = stays.map(|name| format!("; the version of {name} in service stays")).unwrap_or_default();
        let why = format!("{}{stays}", refused.why);
        error!("{what} is not put into service: {why}");
        self.settings.metrics.upgrade(Outcome::Refused);
        self.keep(refused);
        why
    }

    /// Keeps that a version was refused, in place of what was kept of it before.
    fn keep(&self, refused: Refused) {
        let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| (&other.file, &other.name) != (&refused.file, &refused.name));
        if refused.file.is_some() || refused.name.is_some() {
            all.push(refused);
        }
    }

    fn clear(&self, is_past: impl Fn(&Refused) -> bool) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).retain(|refused| !is_past(refused));
    }
}

/// The files of a folder as they were when its actors were about to be loaded.
pub struct Seen {
    stamps: BTreeMap<PathBuf, Stamp>,
    /// Those that are to be looked at again.
    again: BTreeSet<PathBuf>,
}

impl Seen {
    /// As they are now; with `signed`, signatures count. Uploads are removed that a host did not live to put into service.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn now(folder: &Path, signed: bool) -> anyhow::Result<Self> {
        folder::remove_abandoned(folder)?;
        Ok(Self { stamps: folder::stamps(folder, signed)?, again: BTreeSet::new() })
    }

    /// These were not loaded then. Those that may be when they are looked at again are.
    #[must_use]
    pub fn not_loaded(mut self, refused: Vec<actors::Refused>) -> Self {
        self.again.extend(refused.into_iter().filter(|refused| refused.may_pass).map(|refused| refused.file));
        self
    }
}

fn refused(file: Option<&Path>, loaded: Option<&Loaded>, why: anyhow::Error) -> Refused {
    Refused {
        file: file.map(Path::to_owned),
        name: loaded.map(|loaded| loaded.name().to_owned()),
        digest: loaded.map(|loaded| loaded.actor.digest().clone()),
        why: Failure::cut(format!("{why:#}")),
        at: clock::now(),
    }
}

/// Does what waits for the disk.
async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, UploadError> {
    let done = tokio::task::spawn_blocking(task).await;
    done.unwrap_or_else(|died| Err(anyhow::anyhow!("writing it died: {died}"))).map_err(UploadError::NotKept)
}
