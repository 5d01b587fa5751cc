//! `ays-host doctor`: whether a host would run here, and what endangers what it keeps.

use std::{path::PathBuf, sync::Arc};

use ays_engine::{Engine, Pooling};
use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::{AlreadyTold, code_cache::CodeCacheArgs, compiling::Compiling, print, print_json};
use crate::{actors::Actors, clock::SystemClock, door::command_queue, store};

/// What `doctor` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where everything is kept, as `serve` takes it
    #[arg(
        long,
        value_name = "URL",
        env = "AYS_STORE",
        default_value = "file:.ays/state",
        hide_env_values = true
    )]
    store: store::Address,
    /// The namespace that would be served
    #[arg(long, value_name = "NS", env = "AYS_NAMESPACE", default_value = "default", value_parser = super::serve::namespace)]
    namespace: String,
    /// The command queue that is read, as `serve` takes it
    #[arg(long, value_name = "URL", env = "AYS_COMMAND_QUEUE", hide_env_values = true)]
    command_queue: Option<command_queue::Config>,
    /// The folder of components
    #[arg(long, value_name = "DIR", env = "AYS_ACTORS", default_value = "actors")]
    actors: PathBuf,
    #[command(flatten)]
    trust: super::trust::TrustArgs,
    #[command(flatten)]
    code_cache: CodeCacheArgs,
    #[command(flatten)]
    compiling: Compiling,
    /// Print what was found as JSON
    #[arg(long, env = "AYS_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// A host runs, but not as it should.
    Warning,
    /// A host does not run.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    state: State,
    /// What it is about: `engine`, `code cache`, `actors`, `store`, `command queue`.
    subject: &'static str,
    what: String,
    /// What puts it right.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// All that was found.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, state: State, subject: &'static str, what: String, fix: Option<String>) {
        self.0.push(Finding { state, subject, what, fix });
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = Findings::default();
    runtime.block_on(async {
        engine_and_actors(&args, &mut findings).await;
        store(&args.store, &args.namespace, &mut findings).await;
        if let Some(queue) = &args.command_queue {
            redis("command queue", queue.server(), &mut findings).await;
        }
    });
    if args.json {
        print_json(&findings.0)?;
    } else {
        for Finding { state, subject, what, fix } in &findings.0 {
            let mark = match state {
                State::Ok => "ok     ",
                State::Warning => "warning",
                State::Error => "error  ",
            };
            print(&format!("{mark} {subject}: {what}\n"))?;
            if let Some(fix) = fix {
                print(&format!("        to put it right: {fix}\n"))?;
            }
        }
    }
    match findings.0.iter().any(|finding| finding.state == State::Error) {
        true => Err(AlreadyTold.into()),
        false => Ok(()),
    }
}

async fn engine_and_actors(args: &Args, findings: &mut Findings) {
    let folder = args.code_cache.place().map(|(folder, _)| folder).unwrap_or_default();
    let folder = folder.display();
    let cache = match args.code_cache.open() {
        None => None,
        Some(Ok(cache)) => {
            findings.add(State::Ok, "code cache", format!("{folder} is this user's alone"), None);
            Some(cache)
        }
        Some(Err(why)) => {
            let what = format!("{folder} cannot be used, so components are compiled at each start: {why}");
            findings.add(
                State::Warning,
                "code cache",
                what,
                Some("--code-cache names another folder".into()),
            );
            None
        }
    };
    let engine = Engine::new(&args.compiling.options(1000), Arc::new(SystemClock), cache);
    let engine = match engine {
        Ok(engine) => engine,
        Err(why) => {
            let what = format!("it cannot be started: {why:#}");
            return findings.add(State::Error, "engine", what, None);
        }
    };
    match engine.pooling() {
        Pooling::OnDemand(why) => {
            let what = format!(
                "there is no address space for a pool of instances, so each new one costs more: {why}"
            );
            findings.add(State::Warning, "engine", what, Some("raise `ulimit -v`".into()));
        }
        _ => findings.add(State::Ok, "engine", "instances come from a pool".into(), None),
    }
    let folder = args.actors.display();
    match Actors::load(&engine, &args.actors, args.trust.keys().as_ref()).await {
        Ok((actors, refused)) => {
            let names: Vec<_> = actors.iter().map(|(name, _)| name).collect();
            match names.as_slice() {
                // What is wrong with those that there are is told below.
                [] if !refused.is_empty() => {}
                [] => {
                    let what = format!("there is no component (*.wasm) in {folder}");
                    let fix = format!("ays-host build PATH --out {folder}");
                    findings.add(State::Warning, "actors", what, Some(fix));
                }
                names => findings.add(State::Ok, "actors", names.join(", "), None),
            }
            for refused in refused {
                let what = format!("{}: {}", refused.file.display(), refused.why);
                findings.add(State::Error, "actors", what, None);
            }
        }
        Err(why) => findings.add(State::Error, "actors", format!("{why:#}"), None),
    }
}

async fn store(address: &store::Address, namespace: &str, findings: &mut Findings) {
    match address {
        store::Address::Memory => {
            let what = "all is gone when the host ends".to_owned();
            findings.add(State::Warning, "store", what, Some("--store file:.ays/state".into()));
        }
        store::Address::File(path) => {
            let folder = path.ancestors().find(|folder| folder.exists());
            let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or_else(|| std::path::Path::new("."));
            if let Err(held) = ays_store::embedded::Embedded::look(path, namespace) {
                return findings.add(
                    State::Error,
                    "store",
                    format!("no other host would run here: {held}"),
                    None,
                );
            }
            match tempfile::tempfile_in(folder) {
                Ok(_) => findings.add(State::Ok, "store", format!("{} can be written", path.display()), None),
                Err(why) => {
                    let what = format!("{} cannot be written: {why}", folder.display());
                    findings.add(State::Error, "store", what, None);
                }
            }
        }
        store::Address::Redis(address) => match ays_redis::Server::new(address.clone()) {
            Ok(server) => redis("store", &server, findings).await,
            Err(why) => findings.add(State::Error, "store", why.to_string(), None),
        },
    }
}

async fn redis(subject: &'static str, server: &ays_redis::Server, findings: &mut Findings) {
    match store::look_at(server).await {
        Ok((settings, warnings)) => {
            let name = settings.server.as_deref().unwrap_or("Redis");
            let version = settings.version.as_deref().unwrap_or("of unknown version");
            findings.add(State::Ok, subject, format!("{} answers: {name} {version}", server.address()), None);
            for warning in warnings {
                findings.add(State::Warning, subject, warning.what, Some(warning.fix));
            }
        }
        Err(why) => findings.add(State::Error, subject, format!("{why:#}"), None),
    }
}
