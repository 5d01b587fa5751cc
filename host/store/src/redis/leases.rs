//! Which partitions are this host's: renews its lease, takes what is its share, gives back what is another's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ays_core::partition::{self, PARTITIONS};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    args::Args,
    requests::Request,
    scripts,
    timer::{self, Instant},
    value::{list, number, pairs, text},
};
use crate::{Error, Result};

/// How often it looks whether what is to be given back is idle.
const HANDING_OVER: Duration = Duration::from_millis(10);
/// How soon it tries again when Redis cannot be used.
const AGAIN: Duration = Duration::from_millis(100);
/// An answer that comes within this time says what time it is.
const PROMPT: Duration = Duration::from_millis(100);
/// How much later than another host's lease ends it looks whether that host is gone.
const GONE: Duration = Duration::from_millis(20);
/// For how long a host that goes waits for Redis: for a renewal that is under way, and for the end of its lease.
const LEAVING: Duration = Duration::from_secs(2);

/// What Redis says of leases.
struct View {
    /// What time it is there, in ms since 1970.
    now_ms: u64,
    /// This host had no lease before.
    joined: bool,
    /// Hosts that live, and when their leases end.
    hosts: BTreeMap<String, u64>,
    /// Partition → its owner, and owner and fence.
    owners: BTreeMap<u16, (String, Arc<str>)>,
}

/// What is to be done next.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    claim: Vec<u16>,
    give_back: Vec<u16>,
}

pub(super) struct Leases {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
    life: Duration,
    /// When this host's lease ends, by its own clock.
    ends: Instant,
    plan: Plan,
    /// When the first of the other hosts' leases ends, from when they were read.
    next_end: Option<Duration>,
    /// Whether it has had a lease before.
    began: bool,
}

impl Leases {
    pub(super) fn new(shared: Arc<Shared>, requests: mpsc::UnboundedSender<Request>, life: Duration) -> Self {
        Self {
            shared,
            requests,
            life,
            ends: timer::now(),
            plan: Plan::default(),
            next_end: None,
            began: false,
        }
    }

    /// Joins the others, and takes what is free of this host's share.
    ///
    /// # Errors
    /// If Redis cannot be used.
    pub(super) async fn join(&mut self) -> Result<()> {
        loop {
            self.renew().await?;
            if self.plan.claim.is_empty() {
                return Ok(());
            }
        }
    }

    /// Goes on until the store is closed. If that was asked for, it gives everything back then: the others need not wait for
    /// the lease to end. If it was not, jobs may be under way yet.
    pub(super) async fn run(mut self) {
        let closing = self.shared.closing.clone();
        // Whatever becomes of this, nobody waits for it in vain.
        let _left = self.shared.left.clone().drop_guard();
        loop {
            let renewed = {
                let mut renewal = std::pin::pin!(self.renew());
                tokio::select! {
                    biased;
                    renewed = &mut renewal => renewed,
                    () = closing.cancelled() => {
                        // Were it to come after the leave, this host would have a lease that it does not use.
                        timer::within(LEAVING, renewal).await;
                        break;
                    }
                }
            };
            let nap = match renewed {
                Ok(()) if self.plan != Plan::default() && !closing.is_cancelled() => continue,
                Ok(()) => self.nap(),
                Err(_) => AGAIN,
            };
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                () = shared.nudge.notified() => {}
                () = timer::sleep(nap) => {}
            }
        }
        if self.shared.leaves.load(Relaxed) {
            self.leave().await;
        }
    }

    /// Until when nothing has to be done.
    fn nap(&self) -> Duration {
        let mut nap = self.life / 3;
        if self.shared.memory().owned.values().any(|owned| owned.leaving) {
            nap = nap.min(HANDING_OVER);
        }
        self.next_end.map_or(nap, |next_end| nap.min(next_end + GONE))
    }

    /// Renews the lease, and does what is planned.
    async fn renew(&mut self) -> Result<()> {
        let mut args = Args::default();
        args.push(self.shared.host.as_ref()).show(self.life.as_millis());
        for partitions in [&self.plan.give_back, &self.plan.claim] {
            args.show(partitions.len());
            for partition in partitions {
                args.show(partition);
            }
        }
        // What is given back must not be begun meanwhile.
        self.shared.memory().lose(&self.plan.give_back);
        self.plan = Plan::default();
        let sent = timer::now();
        let margin = self.life / 10;
        let left = self.ends.saturating_duration_since(sent + margin).max(AGAIN);
        let answer = match timer::within(left, self.shared.link.call(&scripts::LEASE, &args)).await {
            Some(Ok(answer)) => answer,
            failed => {
                if let Some(Err(trouble)) = failed {
                    self.shared.trouble(&trouble);
                }
                if timer::now() + margin >= self.ends && self.began {
                    let mut memory = self.shared.memory();
                    if !memory.owned.is_empty() {
                        tracing::warn!(
                            "the lease of this host ends and cannot be renewed: what is being executed is stopped"
                        );
                        memory.lose_all();
                        drop(memory);
                        // Whatever the server did with the lease meanwhile, and with what it had to tell.
                        let _ = self.requests.send(Request::Forget);
                        self.shared.troubled_by("this host's lease cannot be renewed".into(), "lease");
                        self.shared.tell(true);
                    }
                }
                return Err(Error::Unavailable("its lease cannot be renewed".into()));
            }
        };
        self.shared.works();
        let view = view(answer)?;
        if view.joined && self.began {
            tracing::warn!("the lease of this host was over: it begins anew");
            let _ = self.requests.send(Request::Forget);
        }
        self.began = true;
        self.ends = sent + self.life;
        self.take_over(view, sent).await
    }

    async fn take_over(&mut self, view: View, sent: Instant) -> Result<()> {
        let host = self.shared.host.clone();
        let mine: BTreeMap<u16, Arc<str>> = view
            .owners
            .iter()
            .filter(|(_, (owner, _))| **owner == *host)
            .map(|(partition, (_, token))| (*partition, token.clone()))
            .collect();
        let live = || view.hosts.keys().map(String::as_str);
        let mut new = Vec::new();
        {
            let mut memory = self.shared.memory();
            let lost: Vec<u16> = memory
                .owned
                .iter()
                .filter(|(partition, owned)| mine.get(partition) != Some(&owned.token))
                .map(|(partition, _)| *partition)
                .collect();
            memory.lose(&lost);
            let haunted = memory.haunted();
            for (partition, token) in &mine {
                if !memory.owned.contains_key(partition) && !haunted.contains(partition) {
                    new.push((*partition, token.clone()));
                }
            }
            let mut stays = Vec::new();
            for (partition, owned) in &mut memory.owned {
                let leaving = partition::owner(*partition, live()).is_some_and(|owner| owner != &*host);
                if owned.leaving && !leaving {
                    stays.push(*partition);
                }
                owned.leaving = leaving;
            }
            memory.queue_all(&stays);
            self.plan.give_back = memory.idle_leaving();
            self.plan.claim = (0..PARTITIONS)
                .filter(|partition| partition::owner(*partition, live()) == Some(&*host))
                .filter(|partition| !mine.contains_key(partition) && !haunted.contains(partition))
                .filter(|partition| {
                    view.owners.get(partition).is_none_or(|(owner, _)| !view.hosts.contains_key(owner))
                })
                .collect();
            if !lost.is_empty() {
                tracing::info!(partitions = lost.len(), "partitions are another host's now");
            }
        }
        {
            let mut known = self.shared.lease.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // An answer that took long says little of what time it is.
            let took = sent.elapsed();
            if took < PROMPT || known.hosts.is_empty() {
                known.now_ms = view.now_ms;
                known.read_at = sent + took / 2;
            }
            known.hosts = view.hosts.keys().cloned().collect();
        }
        let others = view.hosts.iter().filter(|(other, _)| **other != *host);
        let next_end = others.map(|(_, ends)| ends.saturating_sub(view.now_ms)).min();
        self.next_end = next_end.map(Duration::from_millis);
        self.shared.tell(true);
        if !new.is_empty() {
            tracing::debug!(partitions = new.len(), "partitions are this host's");
            let (reply, answer) = oneshot::channel();
            let closed = || Error::Closed("its writer is gone".into());
            self.requests.send(Request::Own(new, reply)).map_err(|_| closed())?;
            answer.await.map_err(|_| closed())??;
        }
        Ok(())
    }

    async fn leave(&self) {
        let mut args = Args::default();
        args.push(self.shared.host.as_ref()).show(0);
        let mine: BTreeSet<u16> = self.shared.memory().owned.keys().copied().collect();
        args.show(mine.len());
        for partition in mine {
            args.show(partition);
        }
        args.show(0);
        let _ = timer::within(LEAVING, self.shared.link.call(&scripts::LEASE, &args)).await;
    }
}

fn view(answer: redis::Value) -> Result<View> {
    let mut answer = list(answer)?.into_iter();
    let mut next = || answer.next().unwrap_or(redis::Value::Nil);
    let now_ms = number(next())?;
    let joined = number(next())? == 1;
    let mut hosts = BTreeMap::new();
    for (host, ends) in pairs(next())? {
        let ends = std::str::from_utf8(&ends).ok().and_then(|ends| ends.parse::<f64>().ok()).unwrap_or(0.0);
        // Milliseconds since 1970 are far within what a double holds exactly.
        hosts.insert(host, ends as u64);
    }
    let mut owners = BTreeMap::new();
    for (partition, owner) in pairs(next())? {
        let owner = text(redis::Value::BulkString(owner))?.unwrap_or_default();
        let host = owner.split(' ').next().unwrap_or_default().to_owned();
        if let Ok(partition) = partition.parse() {
            owners.insert(partition, (host, owner.into()));
        }
    }
    Ok(View { now_ms, joined, hosts, owners })
}
