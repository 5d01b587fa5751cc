//! Commits of one service's turns: while one batch is being made durable, the next one gathers.

use std::sync::Arc;

use ays_store::{Settled, Store};
use tokio::task::{JoinError, JoinHandle};

use crate::{
    clock,
    hub::{Happening, Hub},
    metrics::{Measure, Metrics, Tally},
};

/// Turns that gather at most, before executing waits for the store.
const BATCH: usize = 256;

/// The turns of one service on their way into the store, in order.
pub(super) struct Commits {
    store: Arc<dyn Store>,
    hub: Hub,
    metrics: Metrics,
    batch: Vec<Settled>,
    /// What was measured of each of them.
    measures: Vec<Option<Measure>>,
    under_way: Option<JoinHandle<ays_store::Result<()>>>,
}

impl Commits {
    pub(super) fn new(store: Arc<dyn Store>, hub: Hub, metrics: Metrics) -> Self {
        Self { store, hub, metrics, batch: Vec::new(), measures: Vec::new(), under_way: None }
    }

    /// Whether there is something that [`progress`](Self::progress) could do.
    pub(super) fn has_gathered(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Waits until the batch under way is durable, and begins to commit what has gathered since: a turn must not wait
    /// for the next job to end.
    pub(super) async fn progress(&mut self) -> ays_store::Result<()> {
        if let Some(commit) = &mut self.under_way {
            let done = commit.await;
            self.under_way = None;
            joined(done)?;
        }
        if !self.batch.is_empty() {
            self.begin();
        }
        Ok(())
    }

    /// Adds a turn, and begins to commit if nothing is being committed.
    pub(super) async fn push(&mut self, settled: Settled, measure: Option<Measure>) -> ays_store::Result<()> {
        self.batch.push(settled);
        self.measures.push(measure);
        let busy = self.under_way.as_ref().is_some_and(|commit| !commit.is_finished());
        if busy && self.batch.len() < BATCH {
            return Ok(());
        }
        self.wait().await?;
        self.begin();
        Ok(())
    }

    /// Commits what is left, and waits until all is durable.
    pub(super) async fn finish(&mut self) -> ays_store::Result<()> {
        self.wait().await?;
        if !self.batch.is_empty() {
            let (batch, tally) = self.gathered();
            commit(&self.store, &self.hub, batch, tally).await?;
        }
        Ok(())
    }

    fn begin(&mut self) {
        let (store, hub) = (self.store.clone(), self.hub.clone());
        let (batch, tally) = self.gathered();
        self.under_way = Some(tokio::spawn(async move { commit(&store, &hub, batch, tally).await }));
    }

    fn gathered(&mut self) -> (Vec<Settled>, Tally) {
        let (batch, measures) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.measures));
        let tally = Tally::new(&self.metrics, &batch, &measures);
        (batch, tally)
    }

    async fn wait(&mut self) -> ays_store::Result<()> {
        match self.under_way.take() {
            Some(commit) => joined(commit.await),
            None => Ok(()),
        }
    }
}

fn joined(commit: Result<ays_store::Result<()>, JoinError>) -> ays_store::Result<()> {
    commit.unwrap_or_else(|died| Err(ays_store::Error::Closed(format!("a commit died: {died}"))))
}

async fn commit(
    store: &Arc<dyn Store>,
    hub: &Hub,
    batch: Vec<Settled>,
    tally: Tally,
) -> ays_store::Result<()> {
    let watched: Vec<_> = if hub.is_watched() {
        batch.iter().map(|settled| Arc::new(settled.job.clone())).collect()
    } else {
        Vec::new()
    };
    let began = clock::instant();
    if let Err(why) = store.commit(batch, clock::now()).await {
        tally.void();
        return Err(why);
    }
    tally.committed(began.elapsed());
    watched.into_iter().for_each(|job| hub.tell(Happening::Job(job)));
    Ok(())
}
