//! `ays-host serve`.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use ays_store::RetentionPolicy;
use clap::builder::BoolishValueParser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{code_cache::CodeCacheArgs, compiling::Compiling, limits::LimitFlags};
use crate::{dispatcher, door::command_queue, granting, log, quarantine::Quarantine, secrets, serve, store};

/// What `serve` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Blueprints to apply first: files, or folders of *.yaml
    #[arg(value_name = "BLUEPRINT", env = "AYS_BLUEPRINTS", value_delimiter = ':')]
    blueprints: Vec<PathBuf>,
    /// The folder of components (*.wasm), as `ays-host build` makes it. New versions and new actors are put into service
    /// while the host runs
    #[arg(long, value_name = "DIR", env = "AYS_ACTORS", default_value = "actors")]
    actors: PathBuf,
    #[command(flatten)]
    trust: super::trust::TrustArgs,
    /// Where everything is kept: file:PATH; in Redis or Valkey, shared by several hosts, redis://HOST:PORT[/DB], the
    /// other forms of --command-queue without a key, and with TLS rediss://; or memory: for tests
    #[arg(
        long,
        value_name = "URL",
        env = "AYS_STORE",
        default_value = "file:.ays/state",
        hide_env_values = true
    )]
    store: store::Address,
    /// For how long a host that shares the store may be silent before others take over its services, in seconds. All
    /// hosts of a namespace should say the same
    #[arg(long, value_name = "SECONDS", env = "AYS_LEASE", default_value_t = 10.0, value_parser = lease)]
    lease: f64,
    /// Where the HTTP API listens: ADDR:PORT or NAME:PORT; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "AYS_LISTEN", default_value = "127.0.0.1:8642", value_parser = listen)]
    listen: SocketAddr,
    /// Further names by which the API may be asked while it listens on a loopback address, as a proxy in front of it does;
    /// localhost and 127.0.0.1 always may. Others are refused, since a web page's own name can be made to lead here
    #[arg(long, value_name = "NAME", env = "AYS_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// The namespace to serve
    #[arg(long, value_name = "NS", env = "AYS_NAMESPACE", default_value = "default", value_parser = namespace)]
    namespace: String,
    /// Read events from a Redis list: redis://HOST:PORT[/DB][#KEY], a unix socket,
    /// redis+unix:///PATH[?db=DB][#KEY], a cluster, redis+cluster://HOST1,HOST2[#KEY], or the primary of sentinels,
    /// redis+sentinel://HOST1,HOST2/MASTER-NAME[/DB][#KEY]; with TLS by rediss instead of redis. The key is
    /// db:queue:command unless it is said. `none` reads none; where everything is kept in Redis, the queue there is
    /// read unless another is named
    #[arg(long, value_name = "URL", env = "AYS_COMMAND_QUEUE", hide_env_values = true)]
    command_queue: Option<Queue>,
    /// What actors are granted, and denied, beyond what blueprints grant: YAML with `grants:` and `deny:`
    #[arg(long, value_name = "FILE", env = "AYS_GRANTS")]
    grants: Option<PathBuf>,
    /// Grant actors what they ask for, and keep that. Without it the host does not start with an actor in use that
    /// asks for more than it is granted
    #[arg(long, env = "AYS_GRANT", value_parser = BoolishValueParser::new())]
    grant: bool,
    /// Where secrets are, the first place that has one counts: env:PREFIX (`api_key` is the variable PREFIXAPI_KEY),
    /// file:PATH (lines `name=value`) or dir:PATH (a file for each, as Kubernetes mounts them)
    #[arg(long, value_name = "PLACE", env = "AYS_SECRETS", value_delimiter = ',')]
    secrets: Vec<secrets::Source>,
    /// Run this action on all services that have it, once the blueprints are applied
    #[arg(long, value_name = "ACTION", env = "AYS_RUN")]
    run: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", env = "AYS_LOG_FORMAT", default_value = "text")]
    log_format: log::Format,
    /// Which log lines: error, warn, info, debug; or by part, as warn,guest=info
    #[arg(long, value_name = "FILTER", env = "AYS_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// How long running jobs may take, in seconds, when the host is to stop; then they are put back
    #[arg(long, value_name = "SECONDS", env = "AYS_DRAIN_TIMEOUT", default_value_t = 10.0, value_parser = seconds)]
    drain_timeout: f64,
    /// How many services may have a job running at the same time
    #[arg(long, value_name = "N", env = "AYS_PARALLEL", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    parallel: u32,
    /// After how many different jobs in a row that end by a trap or a breach of a limit an actor's version is taken out
    /// of service, until `actors release` or a new version; 0: never
    #[arg(long, value_name = "JOBS", env = "AYS_QUARANTINE_AFTER", default_value_t = 10)]
    quarantine_after: u32,
    #[command(flatten)]
    code_cache: CodeCacheArgs,
    #[command(flatten)]
    compiling: Compiling,
    #[command(flatten)]
    limits: LimitFlags,
    /// How long finished jobs are kept, in days
    #[arg(long, value_name = "DAYS", env = "AYS_KEEP_DAYS", default_value_t = 30)]
    keep_days: u32,
    /// How many finished jobs are kept [default: 10000000, or 1000000 in Redis, where they take about 1 KB of memory each]
    #[arg(long, value_name = "N", env = "AYS_KEEP_JOBS")]
    keep_jobs: Option<u64>,
}

/// What `--command-queue` takes.
#[derive(Clone, Debug)]
enum Queue {
    None,
    Some(command_queue::Config),
}

impl std::str::FromStr for Queue {
    type Err = command_queue::InvalidConfig;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Some) }
    }
}

/// The queue that is to be read.
fn queue(named: Option<Queue>, store: &store::Address) -> anyhow::Result<Option<command_queue::Config>> {
    match (named, store) {
        (Some(Queue::Some(config)), _) => Ok(Some(config)),
        (None, store::Address::Redis(address)) => Ok(Some(command_queue::Config::new(address.clone())?)),
        (Some(Queue::None) | None, _) => Ok(None),
    }
}

/// An address, or the first one of a name; IPv4 before IPv6, as the address is that clients of `localhost` try.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: String| format!("{why}; ADDR:PORT or NAME:PORT, as 127.0.0.1:8642, would be right");
    let resolved = text.to_socket_addrs().map_err(|e| wrong(e.to_string()))?;
    resolved.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| wrong("the name has no address".into()))
}

fn lease(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    if (1.0..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("1 to 3600 seconds are possible".into()) }
}

pub(super) fn namespace(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits {
        Ok(text.into())
    } else {
        Err("a namespace is 1 to 64 letters, digits, `-`, `_` and `.`".into())
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("0 to 86400 seconds are possible".into())
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let _log = log::begin(args.log_format, &args.log_level)?;
    raise_open_files();
    let parallel = args.parallel as usize;
    let limits = args.limits.policy()?;
    let dispatcher =
        dispatcher::Settings { parallel, residents: parallel * 2, limits, ..dispatcher::Settings::default() };
    // Busy ones, idle ones, and a few on their way out.
    let instances = args.parallel * 3 + 64;
    let engine = ays_engine::Options { ceiling: limits.ceiling, ..args.compiling.beside_jobs(instances) };
    let most_jobs = if matches!(args.store, store::Address::Redis(_)) { 1_000_000 } else { 10_000_000 };
    let jobs = args.keep_jobs.unwrap_or(most_jobs);
    let settings = serve::Settings {
        command_queue: queue(args.command_queue, &args.store)?,
        lease: Duration::from_secs_f64(args.lease),
        blueprints: args.blueprints,
        run: args.run,
        actors: args.actors,
        trust: args.trust.keys(),
        store: args.store,
        listen: args.listen,
        allow_hosts: args.allow_host,
        namespace: args.namespace,
        cache: args.code_cache.place(),
        grants: granting::own(args.grants.as_deref())?,
        grant: args.grant,
        secrets: secrets::Sources(args.secrets),
        drain: Duration::from_secs_f64(args.drain_timeout),
        quarantine: Quarantine::after(args.quarantine_after),
        retention: RetentionPolicy { age_s: u64::from(args.keep_days) * 86_400, jobs },
        dispatcher,
        engine,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(signals(stop.clone()));
        serve::serve(settings, stop).await
    })
}

/// Connections and the store's files need more descriptors than the 1024 that shells allow by default.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        warn!("cannot raise the limit of open files");
    }
}

/// The first SIGTERM or SIGINT drains, a second one ends the process at once: what is durable stays so.
async fn signals(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("cannot handle signals; a signal ends the host at once");
        return;
    };
    for code in [None, Some(130)] {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        match code {
            None => stop.cancel(),
            Some(code) => std::process::exit(code),
        }
    }
}
