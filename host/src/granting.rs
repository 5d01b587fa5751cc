//! What this host's actors are granted: by its own grants file, and by blueprints, whose grants are kept in the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use anyhow::Context as _;
use ays_core::{
    blueprint::{self, Plan},
    capability::{Access, Granted, Grants, Shortfall},
    manifest::Manifest,
    problem::Problem,
};
use ays_engine::{Actor, HttpLimits, Outbound, Outside};
use ays_store::{Paging, ServiceQuery, Store};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{actors::Actors, apply::Source, clock, secrets::Sources};

/// How often a host asks a store that others share for what was granted by way of them.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Reads the host's grants file. Its mistakes are told of in the log.
///
/// # Errors
/// If it cannot be read, or has mistakes.
pub fn read(file: &Path) -> anyhow::Result<Grants> {
    let source = Source::read(file)?;
    blueprint::read_grants(&source.name, &source.text).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the grants file is not as it should be:\n{}", told.join("\n"))
    })
}

/// What actors are granted, and what they use it with.
pub struct Granting {
    own: Grants,
    http: Arc<Outbound>,
    secrets: Arc<Sources>,
    now: RwLock<Now>,
    /// Held from reading what is kept in the store until it is taken over here, and from changing the one until the other
    /// is changed: what was revoked must not come back by a change that was made beside it.
    changing: Mutex<()>,
}

/// As it is now.
#[derive(Default)]
struct Now {
    /// What blueprints grant, by actor.
    kept: BTreeMap<String, Granted>,
    /// How often that has changed.
    changes: u64,
    /// By digest: a version of an actor may ask for other things than the one before, while jobs of both run.
    outside: HashMap<Arc<str>, Arc<Outside>>,
}

impl Granting {
    /// With the host's own grants, and secrets from these places. What blueprints granted is yet to be
    /// [refreshed](Self::refresh).
    pub fn new(own: Grants, secrets: Sources) -> Self {
        let http = Outbound::new(HttpLimits::default(), Arc::new(clock::SystemClock));
        Self {
            own,
            http: Arc::new(http),
            secrets: Arc::new(secrets),
            now: RwLock::default(),
            changing: Mutex::default(),
        }
    }

    /// The same, on a host whose own API listens here.
    #[must_use]
    pub fn serving(self, address: SocketAddr) -> Self {
        let http = Outbound::new(HttpLimits::default(), Arc::new(clock::SystemClock));
        Self { http: Arc::new(http.with_own_port(address.port())), ..self }
    }

    /// What jobs of this actor may do beyond their own service.
    pub fn outside(&self, actor: &Actor) -> Arc<Outside> {
        if let Some(outside) = self.lock().outside.get(actor.digest()) {
            return outside.clone();
        }
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let outside = Arc::new(Outside {
            access: Arc::new(self.all(&now.kept).access(actor.manifest())),
            http: self.http.clone(),
            secrets: self.secrets.clone(),
        });
        now.outside.insert(actor.digest().clone(), outside.clone());
        outside
    }

    /// What this actor has.
    pub fn access(&self, actor: &Actor) -> Arc<Access> {
        self.outside(actor).access.clone()
    }

    /// Forgets what a version had that no job will ask for any more.
    pub fn forget(&self, digest: &str) {
        self.now.write().unwrap_or_else(PoisonError::into_inner).outside.remove(digest);
    }

    /// What it would have, once a plan's grants are in place.
    pub fn access_with(&self, manifest: &Manifest, plan: &Plan) -> Access {
        self.all(&self.with(plan)).access(manifest)
    }

    /// What blueprints grant, by actor.
    pub fn kept(&self) -> BTreeMap<String, Granted> {
        self.lock().kept.clone()
    }

    /// How often what blueprints grant has changed since the host started.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Takes over what blueprints granted, by way of this host and others.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn refresh(&self, store: &dyn Store) -> ays_store::Result<()> {
        let _changing = self.changing.lock().await;
        self.read_kept(store).await
    }

    async fn read_kept(&self, store: &dyn Store) -> ays_store::Result<()> {
        let kept = store.grants().await?;
        if self.lock().kept != kept {
            self.set(kept);
        }
        Ok(())
    }

    /// Refreshes again and again.
    pub async fn follow(self: Arc<Self>, store: Arc<dyn Store>, stop: CancellationToken) {
        let mut told = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock::sleep(REFRESH_EVERY) => {}
            }
            let why = self.refresh(store.as_ref()).await.err().map(|why| why.to_string()).unwrap_or_default();
            // Once, however long the store is away.
            if why != told && !why.is_empty() {
                warn!("cannot ask what blueprints granted, so that stays as it was: {why}");
            }
            told = why;
        }
    }

    /// Which of these actors would ask for more than they are granted, once a plan's grants are in place.
    pub fn shortfalls<'m>(
        &self,
        plan: &Plan,
        manifests: impl IntoIterator<Item = &'m Manifest>,
    ) -> Vec<Shortfall> {
        self.all(&self.with(plan)).shortfalls(manifests)
    }

    /// Which of the loaded actors that have services, or get some by this plan, would ask for more than they are granted; of
    /// those alone that are `concerned`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn shortfalls_in_use(
        &self,
        plan: &Plan,
        actors: &Actors,
        store: &dyn Store,
        concerned: impl Fn(&str) -> bool,
    ) -> ays_store::Result<Vec<Shortfall>> {
        let manifests = actors.iter().filter(|(name, _)| concerned(name));
        let manifests = manifests.map(|(_, loaded)| loaded.actor.manifest().as_ref());
        let mut used = Vec::new();
        for shortfall in self.shortfalls(plan, manifests) {
            let name = shortfall.actor.as_str();
            let query = ServiceQuery { actor: Some(name.into()) };
            let one = Paging { limit: 1, cursor: None };
            if plan.actors.contains(name) || !store.services(query, one).await?.items.is_empty() {
                used.push(shortfall);
            }
        }
        Ok(used)
    }

    /// Puts a plan's grants in place, and those that `shortfalls` lack, durably.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn grant(
        &self,
        plan: &Plan,
        shortfalls: &[Shortfall],
        store: &dyn Store,
    ) -> ays_store::Result<()> {
        let changing = self.changing.lock().await;
        let mut grants = Grants { grants: self.with(plan), ..Grants::default() };
        grants.grant(shortfalls);
        let changed: BTreeMap<String, Granted> = {
            let now = self.lock();
            let is_new = |(actor, granted): &(String, Granted)| now.kept.get(actor) != Some(granted);
            grants.grants.clone().into_iter().filter(is_new).collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        store.grant(changed).await?;
        // Other hosts may have changed others.
        self.read_kept(store).await?;
        drop(changing);
        if store.time().is_some() {
            // Other hosts execute what follows as well: they must have heard of it.
            clock::sleep(REFRESH_EVERY * 2).await;
        }
        Ok(())
    }

    /// What blueprints grant, with a plan's grants in place.
    fn with(&self, plan: &Plan) -> BTreeMap<String, Granted> {
        let mut kept = self.kept();
        kept.extend(plan.grants.clone());
        kept
    }

    fn all(&self, kept: &BTreeMap<String, Granted>) -> Grants {
        self.own.clone().and(&Grants { grants: kept.clone(), ..Grants::default() })
    }

    fn set(&self, kept: BTreeMap<String, Granted>) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        *now = Now { kept, changes: now.changes.wrapping_add(1), outside: HashMap::new() };
    }

    fn lock(&self) -> RwLockReadGuard<'_, Now> {
        // Every change is whole before anything that could panic.
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with a plan whose actors ask for more than they are granted.
pub fn problems(shortfalls: &[Shortfall], sources: &[Source]) -> Vec<Problem> {
    let file = sources.first().map_or("actors", |source| source.name.as_str());
    shortfalls.iter().map(|shortfall| shortfall.problem(file)).collect()
}

/// The manifests of these actors, of those that are loaded.
pub fn manifests<'a>(names: &'a BTreeSet<String>, actors: &'a Actors) -> impl Iterator<Item = &'a Manifest> {
    names.iter().filter_map(|name| actors.get(name)).map(|loaded| loaded.actor.manifest().as_ref())
}

/// The host's own grants, if there is a file of them.
///
/// # Errors
/// If it cannot be read, or has mistakes.
pub fn own(file: Option<&Path>) -> anyhow::Result<Grants> {
    file.map(|file| {
        fs::metadata(file).with_context(|| format!("there is no grants file {}", file.display()))?;
        read(file)
    })
    .unwrap_or_else(|| Ok(Grants::default()))
}
