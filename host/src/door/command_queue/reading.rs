//! The door itself: from the queue into the store, until it is told to stop.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration, time::Instant};

use ays_core::{EventName, Id};
use ays_redis::Trouble;
use ays_store::{Batch, Error, Store};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    claims::{self, Claimed, Claims},
    config::Config,
    intake,
    status::StatusReader,
    trouble::{Step, Troubles, readable},
};
use crate::clock;

/// How long a claim that is being accepted may still take when the door is told to stop. What is not done by then is
/// done at the next start.
const GRACE: Duration = Duration::from_secs(2);
/// After how long claims that others were using at the start are looked at once more.
const SECOND_LOOK: Duration = Duration::from_secs(7);

type OnEvent = Box<dyn Fn(Id, &EventName, u32) + Send + Sync>;
type OnRefused = Box<dyn Fn(u64) + Send + Sync>;

/// Reads one queue into one store.
pub struct CommandQueue {
    config: Config,
    store: Arc<dyn Store>,
    on_event: Option<OnEvent>,
    on_refused: Option<OnRefused>,
    status: StatusReader,
    troubles: Troubles,
    backoff: Backoff,
    /// When to look for claims of other stores, and whether that is the second time; none when done.
    look: Option<(Instant, bool)>,
}

/// How far a connection has come.
#[derive(Default)]
struct Progress {
    /// The number of the last entry that the store has accepted, if that is known for certain.
    accepted: Option<u64>,
    /// What was claimed while the claim before was being accepted.
    next: Option<Claimed>,
    /// Whether something was accepted that was not dropped yet: the next claim does that.
    undropped: bool,
}

/// Why a connection is not used any longer.
enum Stop {
    /// The door was told to.
    Shutdown,
    /// The store is closed.
    Store(Error),
    /// Redis refused a step.
    Redis(Step, Trouble),
}

fn refused(step: Step) -> impl FnOnce(Trouble) -> Stop {
    move |trouble| Stop::Redis(step, trouble)
}

impl CommandQueue {
    /// A door from this queue to this store. Nothing happens before [`run`](Self::run).
    pub fn new(config: Config, store: Arc<dyn Store>) -> Self {
        let status = StatusReader::new(config.to_string());
        let troubles = Troubles::new(&config, status.clone());
        let look = Some((clock::instant(), false));
        Self {
            config,
            store,
            on_event: None,
            on_refused: None,
            status,
            troubles,
            backoff: Backoff::new(),
            look,
        }
    }

    /// Has `tell` called for each event that was accepted, with its id, its name and how many jobs it led to.
    #[must_use]
    pub fn on_event(self, tell: impl Fn(Id, &EventName, u32) + Send + Sync + 'static) -> Self {
        Self { on_event: Some(Box::new(tell)), ..self }
    }

    /// Has `tell` called with how many entries of a batch were put into the dead-letter list.
    #[must_use]
    pub fn on_refused(self, tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { on_refused: Some(Box::new(tell)), ..self }
    }

    /// Reads how the door is doing.
    pub fn status(&self) -> StatusReader {
        self.status.clone()
    }

    /// Takes entries until `shutdown` is cancelled, then ends the claim it has begun, for which it takes two seconds at
    /// most. Keeps trying while Redis cannot be reached or refuses, and while the store refuses.
    ///
    /// Dropping the future at any point loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`]: the store takes nothing any more. What was claimed waits in Redis.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        loop {
            let Err(stop) = self.use_connection(&shutdown).await;
            match stop {
                Stop::Shutdown => break Ok(()),
                Stop::Store(error) => {
                    tracing::error!("the command queue is not read any more: {error}");
                    break Err(error);
                }
                Stop::Redis(step, trouble) => self.troubles.refused(step, &trouble),
            }
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                () = clock::sleep(self.backoff.next()) => {}
            }
        }
    }

    async fn use_connection(&mut self, shutdown: &CancellationToken) -> Result<Infallible, Stop> {
        let identity = self.store.identity();
        let mut claims = tokio::select! {
            () = shutdown.cancelled() => return Err(Stop::Shutdown),
            connected = Claims::connect(&self.config, &identity) => connected.map_err(refused(Step::Connect))?,
        };
        let mut progress = Progress::default();
        loop {
            // What was claimed ahead is accepted before the door closes.
            if shutdown.is_cancelled() && progress.next.is_none() {
                if let Some(accepted) = progress.accepted.filter(|_| progress.undropped) {
                    claims.drop(accepted).await.map_err(refused(Step::Drop))?;
                }
                return Err(Stop::Shutdown);
            }
            let go_on = !shutdown.is_cancelled();
            let claimed = tokio::select! {
                claimed = self.accept_claim(&mut claims, &mut progress, go_on) => claimed?,
                () = async { shutdown.cancelled().await; clock::sleep(GRACE).await } => return Err(Stop::Shutdown),
            };
            self.look_for_stranded(&mut claims).await?;
            if claimed {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Err(Stop::Shutdown),
                waited = claims.wait() => waited.map_err(refused(Step::Wait))?,
            };
            self.went_well(Step::Wait);
        }
    }

    /// Claims what is there, which drops what was accepted before, and has the store accept it; if it is to go on, claims
    /// meanwhile what comes next. Says whether there was anything.
    async fn accept_claim(
        &mut self,
        claims: &mut Claims,
        progress: &mut Progress,
        go_on: bool,
    ) -> Result<bool, Stop> {
        let door = claims.door().to_string();
        let accepted = match progress.accepted {
            Some(number) => number,
            None => {
                let store = self.store.clone();
                self.patiently(|| store.last_claim(&door)).await?
            }
        };
        progress.accepted = Some(accepted);
        let claimed = match progress.next.take() {
            Some(claimed) => claimed,
            None => {
                let claimed = claims.claim(accepted, accepted).await.map_err(refused(Step::Claim))?;
                self.went_well(Step::Claim);
                progress.undropped = false;
                claimed
            }
        };
        if claimed.entries.is_empty() {
            return Ok(false);
        }
        let (last, full) = (claimed.last(), go_on && claimed.entries.len() >= claims::MOST_ENTRIES);
        // Nothing is certain until all of it is accepted, should this be broken off.
        progress.accepted = None;
        let accepting = async {
            for batch in intake::batches(claimed, accepted, &door, self.config.limit_bytes()) {
                if self.accept(batch).await? {
                    return Ok::<bool, Stop>(true);
                }
            }
            Ok(false)
        };
        // Where much waits, the next claim is made meanwhile; it is accepted once this one is.
        let claiming = async {
            match full {
                true => Some(claims.claim(accepted, last).await),
                false => None,
            }
        };
        let (repeated, next) = tokio::join!(accepting, claiming);
        let repeated = repeated?;
        progress.undropped = true;
        // Another host has accepted them: it knows best how far the store is.
        if !repeated {
            progress.accepted = Some(last);
        }
        if let Some(next) = next {
            let next = next.map_err(refused(Step::Claim))?;
            self.went_well(Step::Claim);
            progress.next = Some(next).filter(|next| !repeated && !next.entries.is_empty());
        }
        Ok(true)
    }

    /// Has the store accept a batch. Says whether it did not, since it has accepted some of it before.
    async fn accept(&mut self, batch: Batch) -> Result<bool, Stop> {
        let store = self.store.clone();
        let accepted = self.patiently(|| store.accept(batch.clone(), clock::now())).await?;
        if accepted.repeated {
            return Ok(true);
        }
        if let Some(tell) = &self.on_event {
            for (event, (id, matched)) in batch.events.iter().zip(&accepted.events) {
                tell(*id, &event.name, *matched);
            }
        }
        if let Some(letter) = batch.dead.first() {
            let (count, reason) = (batch.dead.len(), &letter.reason);
            let entries = if count == 1 { "entry" } else { "entries" };
            tracing::warn!("{count} {entries} of the command queue put into the dead-letter list: {reason}");
        }
        if let Some((place, reason)) = accepted.refused.first() {
            let action = batch.jobs.get(*place).map_or("", |job| &job.action);
            let count = accepted.refused.len();
            let jobs = if count == 1 { "job" } else { "jobs" };
            tracing::warn!(
                "{count} {jobs} of the command queue put into the dead-letter list: `{action}`: {reason}"
            );
        }
        let refused = (batch.dead.len() + accepted.refused.len()) as u64;
        if let Some(tell) = self.on_refused.as_ref().filter(|_| refused > 0) {
            tell(refused);
        }
        self.status.update(|status| {
            status.accepted += (batch.events.len() + batch.jobs.len() - accepted.refused.len()) as u64;
            status.dead += refused;
        });
        Ok(false)
    }

    /// Asks the store until it answers.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = ays_store::Result<T>>,
    {
        let mut backoff = Backoff::new();
        let mut refusal: Option<(Instant, String)> = None;
        loop {
            match ask().await {
                Ok(answer) => {
                    if let Some((since, _)) = refusal {
                        let span = readable(clock::instant().saturating_duration_since(since));
                        tracing::info!("the store takes what comes by the command queue again, after {span}");
                    }
                    return Ok(answer);
                }
                Err(error @ Error::Closed(_)) => return Err(Stop::Store(error)),
                Err(error) => {
                    let reason = error.to_string();
                    let (since, said) = refusal.take().unwrap_or_else(|| (clock::instant(), String::new()));
                    if said != reason {
                        tracing::warn!(
                            "the store refuses what came by the command queue: {reason}. It waits in Redis; \
                                        trying again until it is accepted"
                        );
                    }
                    refusal = Some((since, reason));
                }
            }
            clock::sleep(backoff.next()).await;
        }
    }

    /// Says, once, which claims other stores have left behind on this queue.
    async fn look_for_stranded(&mut self, claims: &mut Claims) -> Result<(), Stop> {
        let Some((_, second)) = self.look.filter(|(due, _)| *due <= clock::instant()) else { return Ok(()) };
        let (found, undecided) = match claims.stranded().await {
            Ok(found) => found,
            Err(trouble) if trouble.needs_new_connection() => return Err(Stop::Redis(Step::Claim, trouble)),
            Err(trouble) => {
                tracing::debug!("cannot look for claims of other stores on the command queue: {trouble}");
                (Vec::new(), false)
            }
        };
        let known = self.status.get().stranded;
        for claim in found.iter().filter(|claim| !known.iter().any(|known| known.key == claim.key)) {
            tracing::warn!(
                "another store has claimed {} entries of the command queue and left them behind, in `{}`. If its host \
                 comes back, it goes on with them. If not, this returns them to the queue; those that it did accept are \
                 then accepted twice: {}",
                claim.entries,
                claim.key,
                claims.return_command(&self.config, &claim.key),
            );
        }
        self.status.update(|status| status.stranded = found);
        self.look = (undecided && !second).then(|| (clock::instant() + SECOND_LOOK, true));
        Ok(())
    }

    fn went_well(&mut self, step: Step) {
        if self.troubles.went_well(step) {
            self.backoff.reset();
        }
    }
}

impl fmt::Debug for CommandQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandQueue")
            .field("config", &self.config)
            .field("status", &self.status.get())
            .finish_non_exhaustive()
    }
}
