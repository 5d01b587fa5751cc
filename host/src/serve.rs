//! `serve`: everything together, from start to drain.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use ays_core::{capability::Grants, problem::Problem};
use ays_engine::{CodeCache, Engine, Pooling};
use ays_package::Trust;
use ays_store::{RetentionPolicy, Store};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    actors::{Actors, Refused},
    api,
    applier::{Applier, Needing, NotApplied},
    apply::{self, Source},
    clock::{self, SystemClock},
    dispatcher::{self, Dispatcher},
    door::command_queue::{self, CommandQueue},
    granting::Granting,
    guests::{Guests, Threads},
    hub::{Happening, Hub},
    live::Live,
    metrics::{Door, Metrics},
    quarantine::Quarantine,
    runs, scheduler,
    secrets::Sources,
    store,
    upgrade::{self, Seen, Upgrades},
};

/// What a host is to do.
#[derive(Debug)]
pub struct Settings {
    /// Blueprints to apply first.
    pub blueprints: Vec<PathBuf>,
    /// An action to run when they are applied.
    pub run: Option<String>,
    /// The folder of components.
    pub actors: PathBuf,
    /// Whose signatures count; none: nobody is asked for one.
    pub trust: Option<Trust>,
    /// Where everything is kept.
    pub store: store::Address,
    /// For how long a host that shares the store may be silent.
    pub lease: Duration,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Further names by which the API may be asked there.
    pub allow_hosts: Vec<String>,
    /// The namespace to serve.
    pub namespace: String,
    /// The command queue to read, if any.
    pub command_queue: Option<command_queue::Config>,
    /// The folder for compiled code, and how many bytes it may have; none: it is not kept.
    pub cache: Option<(PathBuf, u64)>,
    /// How long running jobs may take when the host is to stop.
    pub drain: Duration,
    /// What the operator grants actors, and denies them.
    pub grants: Grants,
    /// Whether actors are granted what they ask for.
    pub grant: bool,
    /// Where secrets are.
    pub secrets: Sources,
    /// When a version of an actor that keeps trapping is taken out of service.
    pub quarantine: Quarantine,
    /// What of the history is kept.
    pub retention: RetentionPolicy,
    /// How many jobs and instances.
    pub dispatcher: dispatcher::Settings,
    /// The engine's pool.
    pub engine: ays_engine::Options,
}

/// How often the host's clock is set by the store's.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How often history is looked through for what is past keeping.
const RETAIN_EVERY: Duration = Duration::from_secs(60);

/// Runs a host until `stop` is cancelled, and drains it.
///
/// # Errors
/// If it cannot start: a bad blueprint, a store that is held by another host, an address that is taken; or if the store
/// fails meanwhile.
pub async fn serve(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let threads = Threads::start().context("cannot start the guests' threads")?;
    let served = serve_with(settings, &threads.guests(), stop).await;
    // A runtime must not be dropped where async code runs; by now no guest runs on it.
    threads.shutdown();
    served
}

async fn serve_with(settings: Settings, guests: &Guests, stop: CancellationToken) -> anyhow::Result<()> {
    // Bound first: a second host with the same address must not touch anything.
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}; `--listen` names another address", settings.listen))?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let store = settings.store.open(&settings.namespace, settings.lease).await?;
    let outcome = run(settings, store.clone(), listener, address, guests, &stop).await;
    stop.cancel();
    let closed = store.close().await.context("cannot close the store");
    outcome.and(closed)?;
    info!("stopped");
    Ok(())
}

async fn run(
    settings: Settings,
    store: Arc<dyn Store>,
    listener: TcpListener,
    address: SocketAddr,
    guests: &Guests,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let metrics = Metrics::new().context("cannot measure")?;
    let seen = Seen::now(&settings.actors, settings.trust.is_some())?;
    let (engine, actors, not_loaded) = load(&settings, guests).await?;
    let sources = Source::read_all(&settings.blueprints)?;
    // Before anything runs: services that are there already must not run on another version than the pinned one.
    apply::check_pins(&sources, &actors).map_err(not_applied)?;
    let actors = Live::new(actors, settings.quarantine);
    let granting = Arc::new(Granting::new(settings.grants, settings.secrets).serving(address));
    granting.refresh(store.as_ref()).await?;
    let upgrades = Upgrades::new(
        upgrade::Settings {
            folder: settings.actors,
            grant: settings.grant,
            limits: settings.dispatcher.limits,
            trust: settings.trust,
            pinned: sources.clone(),
            metrics: metrics.clone(),
        },
        engine,
        actors.clone(),
        granting.clone(),
        store.clone(),
        guests.loading().clone(),
        seen.not_loaded(not_loaded),
    );
    let applier = Arc::new(Applier::new(store.clone(), granting.clone()));
    let hub = Hub::default();
    let cancels = dispatcher::Cancels::default();
    // Cancelled by the store's failure; everything that stops at `stop` stops at it, too.
    let broken = CancellationToken::new();
    let stopping = stop.child_token();
    let dispatcher = Dispatcher::new(
        dispatcher::Context {
            store: store.clone(),
            actors: actors.clone(),
            granting: granting.clone(),
            hub: hub.clone(),
            metrics: metrics.clone(),
            cancels: cancels.clone(),
        },
        settings.dispatcher,
        dispatcher::Ends { stop: stopping.clone(), broken: broken.clone() },
    );
    let dispatching = {
        let guests = guests.clone();
        let drain = settings.drain;
        tokio::spawn(async move { dispatcher.run(&guests, drain).await })
    };
    let ticking = tokio::spawn(scheduler::run(store.clone(), stopping.clone(), broken.clone()));
    let following = tokio::spawn(follow(store.clone(), cancels.clone()));
    let retaining = tokio::spawn(retain(store.clone(), settings.retention, stopping.clone()));
    if store.time().is_some() {
        tokio::spawn(granting.clone().follow(store.clone(), stopping.clone()));
    }
    let queue = settings.command_queue.map(|config| {
        let (hub, counting, refusing) = (hub.clone(), metrics.clone(), metrics.clone());
        CommandQueue::new(config, store.clone())
            .on_event(move |id, event, matched| {
                counting.accepted(Door::Queue, 1);
                if hub.is_watched() {
                    hub.tell(Happening::Event { id, event: event.as_str().into(), matched });
                }
            })
            .on_refused(move |entries| refusing.refused(Door::Queue, entries))
    });
    let (tell_ready, ready) = watch::channel(false);
    let context = api::Context {
        store: store.clone(),
        actors: actors.clone(),
        upgrades: upgrades.clone(),
        applier: applier.clone(),
        granting: granting.clone(),
        limits: settings.dispatcher.limits,
        hub,
        metrics,
        cancels,
        namespace: settings.namespace.as_str().into(),
        ready,
        queue: queue.as_ref().map(CommandQueue::status),
    };
    let names = api::Names { loopback: address.ip().is_loopback(), allowed: settings.allow_hosts.into() };
    let serving: JoinHandle<std::io::Result<()>> = {
        let stopping = stopping.clone();
        let server = axum::serve(api::Bounded::new(listener), api::router(context, names))
            .with_graceful_shutdown(async move { stopping.cancelled().await });
        tokio::spawn(async move { server.await })
    };
    info!("listening on http://{address}");

    let in_service = actors.now();
    let started = {
        let run = settings.run.as_deref();
        begin(&sources, run, settings.grant, &store, &in_service, &applier)
    };
    let started = tokio::select! {
        started = started => started,
        () = stop.cancelled() => Ok(()),
        () = broken.cancelled() => Ok(()),
    };
    let mut reading = None;
    if started.is_ok() && !stop.is_cancelled() {
        // The doors open only now: an event must find the filters that blueprints and `init` set.
        reading = queue.map(|queue| tokio::spawn(queue.run(stopping.clone())));
        tokio::spawn(upgrades.clone().follow(stopping.clone()));
        tell_ready.send_replace(true);
        info!("ready");
        tokio::select! {
            () = stop.cancelled() => info!("stopping: no new jobs; running ones may take up to {} s", settings.drain.as_secs_f32()),
            () = broken.cancelled() => {}
        }
    }
    stopping.cancel();
    if let Some(reading) = reading {
        let _ = reading.await;
    }
    let _ = tokio::join!(dispatching, ticking, retaining);
    following.abort();
    upgrades.end().await;
    // Requests under way get a moment; watchers of the stream would stay for ever.
    let _ = tokio::time::timeout(Duration::from_millis(500), serving).await;
    started?;
    anyhow::ensure!(!broken.is_cancelled(), "the store failed");
    Ok(())
}

async fn load(settings: &Settings, guests: &Guests) -> anyhow::Result<(Arc<Engine>, Actors, Vec<Refused>)> {
    let cache = settings.cache.as_ref().and_then(|(folder, most)| match CodeCache::open(folder) {
        Ok(cache) => Some(cache.at_most(*most)),
        Err(why) => {
            warn!("compiled code is not kept: {why}");
            None
        }
    });
    let engine = Engine::new(&settings.engine, Arc::new(SystemClock), cache)
        .map_err(|e| anyhow::anyhow!("cannot start the WebAssembly engine: {e:#}"))?;
    if let Pooling::OnDemand(why) = engine.pooling() {
        warn!("instances are allocated one by one, which is slower: no address space for a pool ({why})");
    }
    let engine = Arc::new(engine);
    let (folder, trust) = (settings.actors.clone(), settings.trust.clone());
    let loading = engine.clone();
    let loaded = guests.loading().spawn(async move { Actors::load(&loading, &folder, trust.as_ref()).await });
    let (actors, not_loaded) = loaded.await.context("loading the actors died")??;
    Ok((engine, actors, not_loaded))
}

async fn begin(
    sources: &[Source],
    run: Option<&str>,
    grant: bool,
    store: &Arc<dyn Store>,
    actors: &Actors,
    applier: &Applier,
) -> anyhow::Result<()> {
    // Of services that were there before, too: their actors may be of new versions, which ask for more.
    let done =
        applier.apply(sources, actors, Needing::All, grant).await.map_err(|refused| match refused {
            NotApplied::Faults(problems) => not_applied(problems),
            NotApplied::Grants(problems) => self::refused("with what actors ask for", problems),
            NotApplied::Store(error) => error.into(),
        })?;
    done.steps.iter().for_each(|step| info!("blueprint: {step}"));
    applier.until_set_up(&done).await?;
    if let Some(action) = run {
        let ask = runs::Ask { action: action.into(), ..runs::Ask::default() };
        let run = runs::start(&ask, store.as_ref(), actors)
            .await
            .map_err(|e| anyhow::anyhow!("--run {action}: {e}"))?;
        info!("running {action}: {}", runs::describe(&run));
    }
    Ok(())
}

fn not_applied(problems: Vec<Problem>) -> anyhow::Error {
    refused("in the blueprints", problems)
}

/// Tells of the problems, and that they are why nothing was done.
fn refused(what: &str, problems: Vec<Problem>) -> anyhow::Error {
    problems.iter().for_each(|problem| tracing::error!("{problem}"));
    anyhow::anyhow!("{} {what}; nothing was changed", apply::count(problems.len(), "problem"))
}

/// Goes by the store's clock, if it has one, and has guests stopped whose jobs are no longer this host's.
async fn follow(store: Arc<dyn Store>, cancels: dispatcher::Cancels) {
    loop {
        if let Some(time) = store.time() {
            clock::set(time);
        }
        tokio::select! {
            recalled = store.recalled() => recalled.into_iter().for_each(|job| cancels.tell(job)),
            () = clock::sleep(FOLLOW_EVERY) => {}
        }
    }
}

async fn retain(store: Arc<dyn Store>, policy: RetentionPolicy, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let retained = tokio::select! {
            retained = store.retain(policy, clock::now()) => retained,
            () = stop.cancelled() => return,
        };
        if let Err(why) = retained {
            warn!("cannot drop old history: {why}");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(RETAIN_EVERY) => {}
        }
    }
}
