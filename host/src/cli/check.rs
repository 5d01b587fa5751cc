//! `ays-host check`.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use ays_core::{
    blueprint::{Current, Plan},
    capability::{Asked, Capabilities, Granted},
    hrd,
    manifest::Manifest,
    problem::Problem,
};
use ays_engine::Engine;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::{
    AlreadyTold,
    code_cache::CodeCacheArgs,
    compiling::Compiling,
    limits::{self, LimitFlags},
    print, print_json,
};
use crate::{
    actors::Actors,
    apply::{self, Source},
    clock::SystemClock,
    granting::{self, Granting},
    secrets::Sources,
};

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Blueprints (files, or folders of *.yaml), and HRD files (*schema.hrd, *actor.hrd)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The folder of components that the blueprints are for
    #[arg(long, value_name = "DIR", env = "AYS_ACTORS", default_value = "actors")]
    actors: PathBuf,
    #[command(flatten)]
    trust: super::trust::TrustArgs,
    #[command(flatten)]
    code_cache: CodeCacheArgs,
    /// What the host grants and denies: its grants file
    #[arg(long, value_name = "FILE", env = "AYS_GRANTS")]
    grants: Option<PathBuf>,
    /// As with `serve --grant`: that an actor asks for more than it is granted is no problem
    #[arg(long, env = "AYS_GRANT", value_parser = BoolishValueParser::new())]
    grant: bool,
    #[command(flatten)]
    compiling: Compiling,
    #[command(flatten)]
    limits: LimitFlags,
    /// Print the plan, or the problems, as JSON
    #[arg(long, env = "AYS_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (hrd, blueprints): (Vec<PathBuf>, Vec<PathBuf>) = args
        .files
        .iter()
        .cloned()
        .partition(|file| file.extension().is_some_and(|extension| extension == "hrd"));
    let mut problems = Vec::new();
    for file in &hrd {
        problems.extend(check_hrd(file)?);
    }
    let mut steps = Vec::new();
    let mut capabilities = Vec::new();
    let mut allowed = serde_json::Map::new();
    let policy = args.limits.policy()?;
    if !blueprints.is_empty() {
        let sources = Source::read_all(&blueprints)?;
        let actors = load(args)?;
        match apply::plan_with(&sources, &Current::default(), &actors) {
            Ok(plan) => {
                for (name, loaded) in actors.iter() {
                    let manifest = loaded.actor.manifest();
                    allowed.insert(name.to_owned(), serde_json::json!(policy.of(manifest)));
                    limits::above(manifest, &policy).iter().for_each(|line| eprintln!("{name}: {line}"));
                }
                let granting = Granting::new(granting::own(args.grants.as_deref())?, Sources::default());
                let used = || granting::manifests(&plan.actors, &actors);
                capabilities = used().filter_map(|manifest| Asking::of(manifest, &granting, &plan)).collect();
                let shortfalls = granting.shortfalls(&plan, used());
                if !args.grant {
                    problems.extend(granting::problems(&shortfalls, &sources));
                }
                steps = plan.steps;
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        if args.json {
            return print_json(&serde_json::json!({
                "problems": [], "steps": steps, "capabilities": capabilities, "limits": allowed,
            }));
        }
        let nothing = if steps.is_empty() && !blueprints.is_empty() { ", and nothing to do" } else { "" };
        eprintln!("{}: no problem{nothing}", apply::count(args.files.len(), "file"));
        print(&steps.iter().map(|step| format!("{step}\n")).collect::<String>())?;
        return print(&capabilities.iter().map(ToString::to_string).collect::<String>());
    }
    if args.json {
        print_json(&serde_json::json!({"problems": problems, "capabilities": capabilities}))?;
    } else {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
    }
    Err(AlreadyTold.into())
}

/// What an actor that blueprints use asks for, and how much of it is granted.
#[derive(Serialize)]
struct Asking {
    actor: String,
    asked: Asked,
    granted: Granted,
    missing: Capabilities,
}

impl Asking {
    /// None for an actor that asks for nothing.
    fn of(manifest: &Manifest, granting: &Granting, plan: &Plan) -> Option<Self> {
        let access = granting.access_with(manifest, plan);
        let asked = manifest.capabilities.clone();
        let (granted, missing) = (access.granted().clone(), access.missing());
        (!asked.is_empty()).then(|| Self { actor: manifest.name.to_string(), asked, granted, missing })
    }
}

/// One line for each thing that is asked for.
impl std::fmt::Display for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} asks for {}", self.actor, self.asked.texts().join(", "))?;
        if !self.missing.is_empty() {
            let missing: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
            writeln!(f, "{} is not granted {}", self.actor, missing.join(", "))?;
        }
        Ok(())
    }
}

fn check_hrd(file: &PathBuf) -> anyhow::Result<Vec<Problem>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.display().to_string();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let what = format!("is not UTF-8: byte {} is not", e.utf8_error().valid_up_to());
            return Ok(vec![Problem::new(&name, what, "text in UTF-8 would be right")]);
        }
    };
    let is_schema = file.file_name().is_some_and(|name| name.to_string_lossy().contains("schema"));
    let checked = if is_schema {
        hrd::parse_schema(&name, &text).map(|_| ())
    } else {
        hrd::parse_actor(&name, &text).map(|_| ())
    };
    Ok(checked.err().unwrap_or_default())
}

/// Loads the actors that a blueprint is checked against. A component that is none is told of.
fn load(args: &Args) -> anyhow::Result<Actors> {
    let cache = args.code_cache.open().and_then(Result::ok);
    let engine = Engine::new(&args.compiling.options(16), Arc::new(SystemClock), cache)
        .map_err(|e| anyhow::anyhow!("cannot start the WebAssembly engine: {e:#}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (actors, refused) =
        runtime.block_on(Actors::load(&engine, &args.actors, args.trust.keys().as_ref()))?;
    for refused in refused {
        eprintln!("{}: {}", refused.file.display(), refused.why);
    }
    Ok(actors)
}
