//! `ays-host check`.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use ays_core::{blueprint::Current, hrd, problem::Problem};
use ays_engine::{CodeCache, Engine};
use clap::builder::BoolishValueParser;

use super::{AlreadyTold, print, print_json};
use crate::{
    actors::Actors,
    apply::{self, Source},
    clock::SystemClock,
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
    /// The folder for compiled code; `none` compiles each time
    #[arg(long, value_name = "DIR", env = "AYS_CODE_CACHE", default_value = ".ays/code")]
    code_cache: PathBuf,
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
    if !blueprints.is_empty() {
        let sources = Source::read_all(&blueprints)?;
        let actors = load(args)?;
        match apply::plan_with(&sources, &Current::default(), &actors) {
            Ok(plan) => steps = plan.steps,
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        if args.json {
            return print_json(&serde_json::json!({"problems": [], "steps": steps}));
        }
        let nothing = if steps.is_empty() && !blueprints.is_empty() { ", and nothing to do" } else { "" };
        eprintln!("{}: no problem{nothing}", apply::count(args.files.len(), "file"));
        return print(&steps.iter().map(|step| format!("{step}\n")).collect::<String>());
    }
    if args.json {
        print_json(&serde_json::json!({"problems": problems}))?;
    } else {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
    }
    Err(AlreadyTold.into())
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
    let cache =
        (args.code_cache.as_os_str() != "none").then(|| CodeCache::open(&args.code_cache).ok()).flatten();
    let options = ays_engine::Options { instances: 16, ..ays_engine::Options::default() };
    let engine = Engine::new(&options, Arc::new(SystemClock::default()), cache)
        .map_err(|e| anyhow::anyhow!("cannot start the WebAssembly engine: {e:#}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (actors, refused) = runtime.block_on(Actors::load(&engine, &args.actors))?;
    for refused in refused {
        eprintln!("{}: {}", refused.file.display(), refused.why);
    }
    Ok(actors)
}
