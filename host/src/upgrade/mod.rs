//! New versions of actors, while the host runs.
//!
//! A version comes by a file in the actors' folder, or by the API, which puts it there. It is compiled beside the one in
//! service, and looked at: is it an actor, is it granted what it asks for, does it have what its services call, do the
//! data of all its services fit. Only then does it take the other's place, between any two jobs. One that is refused changes nothing.
//!
//! The folder is looked at again and again. Notifications of changes (inotify and its like) are not sent by network file
//! systems, nor for files that are changed on the other side of a container's mount, which is how folders of actors often
//! come to a host; and what they save is nothing here: the status of some files, twice a second.

mod calls;
mod defaults;
mod fit;
mod folder;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as Lock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ays_core::{Timestamp, blueprint::Plan, manifest::LimitPolicy, upgrade::Upgrade};
use ays_engine::Engine;
use ays_package::Trust;
use ays_store::{Paging, ServiceQuery, Store};
use serde::Serialize;
use tokio::{
    runtime,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::fit::{Fitted, fit};
use self::folder::Stamp;
use crate::{
    actors::{Actors, Loaded},
    apply::{self, Source},
    clock,
    granting::Granting,
    live::Live,
    metrics::{Metrics, Outcome},
    package::PackageFile,
};

/// How often the folder is looked at. A file is loaded when it has stayed the same from one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often a version that was refused is looked at anew.
const RECONSIDER_EVERY: Duration = Duration::from_secs(3);

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
    /// The files of the folder. Locked while a version is looked at and put into service: one at a time.
    files: Mutex<BTreeMap<PathBuf, Known>>,
    refused: Lock<Vec<Refused>>,
    /// One at a time.
    uploads: Arc<Semaphore>,
}

/// The right to upload.
pub struct UploadTurn(
    #[expect(dead_code, reason = "it is given back when it is dropped")] Option<OwnedSemaphorePermit>,
);

/// What is known of a file.
struct Known {
    stamp: Stamp,
    state: State,
}

enum State {
    /// It has changed, and may be being written yet.
    Changed,
    /// It is in service, or no actor.
    Settled,
    /// It is an actor that was refused, and looked at last at this time. Why may pass, as when it is granted what it asks
    /// for.
    Waiting(Box<Loaded>, Instant),
}

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
        let known = |stamp| Known { stamp, state: State::Settled };
        let files = seen.0.into_iter().map(|(file, stamp)| (file, known(stamp))).collect();
        let (refused, uploads) = (Lock::default(), Arc::new(Semaphore::new(1)));
        Arc::new(Self {
            settings,
            engine,
            live,
            granting,
            store,
            guests,
            files: Mutex::new(files),
            refused,
            uploads,
        })
    }

    /// Looks at the folder again and again.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut unreadable = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock::sleep(LOOK_EVERY) => {}
            }
            let looked = self.look().await;
            if let Err(why) = &looked
                && !unreadable
            {
                warn!("new versions of actors are not noticed: {why:#}");
            }
            unreadable = looked.is_err();
        }
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

    /// Puts a version into service, and into the folder, where it is found at the next start.
    ///
    /// # Errors
    /// If it is no actor, or not granted what it asks for, or its services' data do not fit; or if it cannot be written.
    pub async fn upload(&self, _turn: UploadTurn, component: Vec<u8>) -> Result<Upgraded, UploadError> {
        let mut files = self.files.lock().await;
        let refuse = |refused: Refused| UploadError::Refused(self.refuse(refused));
        // Only its folder says who signed it.
        let package = Arc::new(PackageFile { component, signature: None });
        let mut loaded =
            self.load(None, package.clone()).await.map_err(|why| refuse(refused(None, None, why)))?;
        let name = loaded.name().to_owned();
        let before = self.live.now().get(&name).cloned();
        loaded.file = match &before {
            Some(before) => before.file.clone(),
            None => self.settings.folder.join(format!("{name}.wasm")),
        };
        self.examine(&loaded).await.map_err(|why| refuse(refused(None, Some(&loaded), why)))?;
        let file = loaded.file.clone();
        let placed = tokio::task::spawn_blocking(move || {
            folder::place(&package.component, &file)?;
            Stamp::of(&file).with_context(|| format!("cannot read {}", file.display()))
        });
        let stamp = placed
            .await
            .unwrap_or_else(|died| Err(anyhow::anyhow!("writing it died: {died}")))
            .map_err(UploadError::NotKept)?;
        files.insert(loaded.file.clone(), Known { stamp, state: State::Settled });
        Ok(self.put(loaded).await)
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

    /// Looks at the folder once.
    async fn look(&self) -> anyhow::Result<()> {
        let folder = self.settings.folder.clone();
        let stamps = tokio::task::spawn_blocking(move || folder::stamps(&folder)).await??;
        let mut files = self.files.lock().await;
        files.retain(|file, _| stamps.contains_key(file) || self.gone(file));
        for (file, stamp) in stamps {
            let known = files.get_mut(&file).filter(|known| known.stamp == stamp);
            let state = match known.map(|known| std::mem::replace(&mut known.state, State::Settled)) {
                None => State::Changed,
                Some(State::Settled) => continue,
                Some(State::Changed) => self.consider(&file, stamp).await,
                Some(State::Waiting(loaded, last)) if last.elapsed() < RECONSIDER_EVERY => {
                    State::Waiting(loaded, last)
                }
                Some(State::Waiting(loaded, _)) => self.reconsider(loaded).await,
            };
            files.insert(file, Known { stamp, state });
        }
        Ok(())
    }

    /// A file has gone. An actor that came from it stays in service: deploying is often removing and writing, and its jobs
    /// must not wait for the second half. Nothing is known of the file from now on.
    fn gone(&self, file: &Path) -> bool {
        if let Some((name, _)) = self.live.now().iter().find(|(_, loaded)| loaded.file == file) {
            warn!(actor = name, "{} has gone; the actor {name} stays until the host stops", file.display());
        }
        self.clear(|refused| refused.file.as_deref() == Some(file));
        false
    }

    /// A file has changed, and is whole as far as one can see.
    async fn consider(&self, file: &Path, stamp: Stamp) -> State {
        self.clear(|refused| refused.file.as_deref() == Some(file));
        let package = {
            let (file, most) = (file.to_owned(), self.engine.component_bytes());
            tokio::task::spawn_blocking(move || PackageFile::read(&file, most)).await
        };
        if Stamp::of(file).ok() != Some(stamp) {
            return State::Changed;
        }
        let loaded = match package {
            Ok(Ok(package)) => self.load(Some(file), Arc::new(package)).await,
            Ok(Err(why)) => Err(why),
            Err(died) => Err(died.into()),
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                self.refuse(refused(Some(file), None, why));
                return State::Settled;
            }
        };
        if let Err(why) = self.examine(&loaded).await {
            self.refuse(refused(Some(file), Some(&loaded), why));
            return State::Waiting(Box::new(loaded), clock::instant());
        }
        self.put(loaded).await;
        State::Settled
    }

    /// An actor was refused before; says nothing if it still is.
    async fn reconsider(&self, loaded: Box<Loaded>) -> State {
        if self.examine(&loaded).await.is_err() {
            return State::Waiting(loaded, clock::instant());
        }
        self.put(*loaded).await;
        State::Settled
    }

    /// Compiles a component, and asks it what it is. Meanwhile the guests' threads do what they do.
    async fn load(&self, file: Option<&Path>, package: Arc<PackageFile>) -> anyhow::Result<Loaded> {
        let (engine, guests) = (self.engine.clone(), self.guests.clone());
        let (file, trust) = (file.unwrap_or(Path::new("")).to_owned(), self.settings.trust.clone());
        let load = move || guests.block_on(Loaded::new(&engine, &file, &package, trust.as_ref()));
        tokio::task::spawn_blocking(load).await.context("loading it died")?
    }

    /// Whether a version may take its place.
    async fn examine(&self, new: &Loaded) -> anyhow::Result<()> {
        let name = new.name();
        if let Some(before) = self.live.now().get(name)
            && before.file != new.file
            && before.file.exists()
        {
            anyhow::bail!("the actor `{name}` was loaded from {} already; remove one", before.file.display());
        }
        let mut would_be = Actors::clone(&self.live.now());
        would_be.put(new.clone());
        if let Err(problems) = apply::check_pins(&self.settings.pinned, &would_be) {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::bail!("{}", told.join("; "));
        }
        let plan = Plan::default();
        let actors = Actors::only(new.clone());
        let shortfalls = self.granting.shortfalls_of_all(&plan, &actors, self.store.as_ref()).await?;
        if !shortfalls.is_empty() {
            let told: Vec<String> = shortfalls.iter().map(ToString::to_string).collect();
            anyhow::ensure!(self.settings.grant, "{}", told.join("; "));
            told.iter().for_each(|shortfall| info!("granting what was not: {shortfall}"));
            self.granting.grant(&plan, &shortfalls, self.store.as_ref()).await?;
        }
        let now = self.live.now();
        let before = now.get(name).map(|before| before.actor.manifest().as_ref());
        calls::check(&Upgrade { before, new: new.actor.manifest() }, self.store.as_ref()).await?;
        self.rehearse(new).await
    }

    /// Brings the data of all of the actor's services into the form that a version takes, and keeps nothing of it: page by
    /// page, so that many services need no more memory than some.
    async fn rehearse(&self, new: &Loaded) -> anyhow::Result<()> {
        let manifest = new.actor.manifest();
        let limits = self.settings.limits.of(manifest);
        let query = ServiceQuery { actor: Some(new.name().into()) };
        let mut dropped = BTreeMap::<String, usize>::new();
        let mut faults = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.store.services(query.clone(), Paging { limit: PAGE, cursor }).await?;
            for service in page.items {
                match fit(new, &service.data, service.schema.as_ref(), &limits).await {
                    Ok(Some(fitted)) => {
                        fitted.dropped.into_iter().for_each(|name| *dropped.entry(name).or_default() += 1);
                    }
                    Ok(None) => {}
                    Err(_) if faults.len() >= FAULTS => {}
                    Err(failure) => faults.push(format!("{}: {}", service.key, failure.message)),
                }
            }
            cursor = page.next;
            if cursor.is_none() || faults.len() >= FAULTS {
                break;
            }
        }
        anyhow::ensure!(faults.is_empty(), "{}", faults.join("; "));
        for (field, services) in dropped {
            let services = apply::count(services, "service");
            warn!(actor = new.name(), "`{field}` is no field any more: its values go, of {services}");
        }
        Ok(())
    }

    /// Puts a version into service.
    async fn put(&self, new: Loaded) -> Upgraded {
        let (name, digest, file) = (new.name().to_owned(), new.actor.digest().clone(), new.file.clone());
        let how = new.how.clone();
        let manifest = new.actor.manifest().clone();
        let replaced = self.live.put(new);
        // Before the switch they would call what the version before does not have. A task of its own: whoever uploaded the
        // version may hang up meanwhile.
        let before = replaced.as_ref().map(|before| before.actor.manifest().clone());
        let adding = tokio::spawn(defaults::set(before, manifest, self.store.clone()));
        let before = replaced.as_ref().map(|before| before.actor.digest().clone());
        self.clear(|refused| refused.name.as_ref() == Some(&name));
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
        let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| (&other.file, &other.name) != (&refused.file, &refused.name));
        if refused.file.is_some() || refused.name.is_some() {
            all.push(refused);
        }
        why
    }

    fn clear(&self, is_past: impl Fn(&Refused) -> bool) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).retain(|refused| !is_past(refused));
    }
}

/// The files of a folder as they were when its actors were about to be loaded.
pub struct Seen(BTreeMap<PathBuf, Stamp>);

impl Seen {
    /// As they are now.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn now(folder: &Path) -> anyhow::Result<Self> {
        folder::stamps(folder).map(Self)
    }
}

fn refused(file: Option<&Path>, loaded: Option<&Loaded>, why: anyhow::Error) -> Refused {
    Refused {
        file: file.map(Path::to_owned),
        name: loaded.map(|loaded| loaded.name().to_owned()),
        digest: loaded.map(|loaded| loaded.actor.digest().clone()),
        why: format!("{why:#}"),
        at: clock::now(),
    }
}
