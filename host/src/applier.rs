//! Blueprints, from their text to what is kept of them: planned, granted, applied.

use std::sync::Arc;

use ays_core::{
    blueprint::{Plan, Step},
    capability::Shortfall,
    problem::Problem,
    run::NewRun,
};
use ays_store::{Applied, Error, Store};
use tokio::sync::Mutex;

use crate::{
    actors::Actors,
    apply::{self, Nap, Source},
    clock,
    granting::{self, Granting},
};

/// How often a plan is made anew because another host has changed what it was made on.
const TRIES: u32 = 20;

/// Which actors have to be granted what they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needing {
    /// Those that the blueprints name, and those with services to which they grant something else.
    Named,
    /// All that have services, or get some.
    All,
}

/// Why blueprints were not applied; nothing was changed.
#[derive(Debug)]
pub enum NotApplied {
    /// They have these faults.
    Faults(Vec<Problem>),
    /// Actors ask for more than they are granted.
    Grants(Vec<Problem>),
    /// The store failed.
    Store(Error),
}

impl<E: Into<Error>> From<E> for NotApplied {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// What would change, or has changed.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    shortfalls: Vec<Shortfall>,
}

impl Prepared {
    /// Each change.
    pub fn steps(&self) -> Vec<Step> {
        let granted = |shortfall: &Shortfall| Step::Grant {
            actor: shortfall.actor.to_string(),
            granted: shortfall.missing.clone().into(),
        };
        let shortfalls = self.shortfalls.iter().filter(|shortfall| !shortfall.missing.is_empty());
        self.plan.steps.iter().cloned().chain(shortfalls.map(granted)).collect()
    }
}

/// What has changed.
#[derive(Debug)]
pub struct Done {
    /// Each change.
    pub steps: Vec<Step>,
    /// The jobs and runs that it led to.
    pub applied: Applied,
    /// How many of the jobs set services up; they come first.
    created: usize,
    /// For each run, whether its first step sets services up.
    set_up: Vec<bool>,
}

/// Applies blueprints, one after the other.
pub struct Applier {
    store: Arc<dyn Store>,
    granting: Arc<Granting>,
    one: Mutex<()>,
}

impl Applier {
    /// For this store.
    pub fn new(store: Arc<dyn Store>, granting: Arc<Granting>) -> Self {
        Self { store, granting, one: Mutex::default() }
    }

    /// Plans, and changes nothing. What actors lack that the blueprints concern is granted by the plan with `grant`.
    ///
    /// # Errors
    /// See [`NotApplied`].
    pub async fn prepare(
        &self,
        sources: &[Source],
        actors: &Actors,
        needing: Needing,
        grant: bool,
    ) -> Result<Prepared, NotApplied> {
        let (store, granting) = (self.store.as_ref(), &self.granting);
        let plan = if sources.is_empty() {
            Plan::default()
        } else {
            apply::plan(sources, store, actors, granting).await?.map_err(NotApplied::Faults)?
        };
        let shortfalls = match needing {
            Needing::Named => {
                let granted = |name: &str| plan.grants.contains_key(name) || plan.grants.contains_key("*");
                let concerned = |name: &str| plan.actors.contains(name) || granted(name);
                granting.shortfalls_in_use(&plan, actors, store, concerned).await?
            }
            Needing::All => granting.shortfalls_in_use(&plan, actors, store, |_| true).await?,
        };
        if !shortfalls.is_empty() && !grant {
            return Err(NotApplied::Grants(granting::problems(&shortfalls, sources)));
        }
        Ok(Prepared { plan, shortfalls })
    }

    /// Plans and applies: first what is granted, since jobs that follow from the rest need it, then all else in one
    /// commit. Should another host change meanwhile what the plan was made on, another is made.
    ///
    /// # Errors
    /// See [`NotApplied`].
    pub async fn apply(
        &self,
        sources: &[Source],
        actors: &Actors,
        needing: Needing,
        grant: bool,
    ) -> Result<Done, NotApplied> {
        let _one = self.one.lock().await;
        let (mut tries, mut nap) = (1, Nap::default());
        loop {
            let prepared = self.prepare(sources, actors, needing, grant).await?;
            let steps = prepared.steps();
            let Prepared { plan, shortfalls } = prepared;
            self.granting.grant(&plan, &shortfalls, self.store.as_ref()).await?;
            let changes = plan.changes;
            if changes.is_empty() {
                let (applied, set_up) = (Applied::default(), Vec::new());
                return Ok(Done { steps, applied, created: 0, set_up });
            }
            let sets_up =
                |run: &NewRun| run.steps.first().into_iter().flatten().any(|task| task.action == "init");
            let created = changes.create.iter().map(|new| new.jobs.len()).sum();
            let set_up = changes.runs.iter().map(sets_up).collect();
            match self.store.apply(changes, clock::now()).await {
                Err(Error::Conflict(_)) if tries < TRIES => {
                    tries += 1;
                    nap.take().await;
                }
                applied => return Ok(Done { steps, applied: applied?, created, set_up }),
            }
        }
    }

    /// Waits until `input` and `init` of what was created have been tried once: only then have they set the event filters
    /// that the next events are to find. Where the plan has a run, `init` is its first step.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn until_set_up(&self, done: &Done) -> ays_store::Result<()> {
        let store = self.store.as_ref();
        // Jobs of creations come first; those of changes wait in mailboxes behind whatever was there before.
        apply::until_tried(store, done.applied.jobs.iter().take(done.created)).await?;
        let runs = done.applied.runs.iter().zip(&done.set_up).filter(|(_, sets_up)| **sets_up);
        for (run, _) in runs {
            apply::until_run_tried(store, *run).await?;
        }
        Ok(())
    }
}
