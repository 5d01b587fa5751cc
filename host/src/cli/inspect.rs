//! `ays-host inspect`.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use ays_core::manifest::{LimitPolicy, Manifest};
use ays_engine::{Actor, Engine};
use clap::builder::BoolishValueParser;
use serde_json::json;

use super::{compiling::Compiling, limits, print, print_json};
use crate::{actors, clock::SystemClock};

/// What `inspect` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    compiling: Compiling,
    /// Print JSON
    #[arg(long, env = "AYS_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let wasm = actors::read(&args.file, args.compiling.component_size)?;
    let actor = load(&wasm, &args.compiling).with_context(|| args.file.display().to_string())?;
    let manifest = actor.manifest();
    if args.json {
        return print_json(&json!({
            "name": manifest.name,
            "digest": &**actor.digest(),
            "size_bytes": actor.size(),
            "manifest": &**manifest,
            "limits": LimitPolicy::default().of(manifest),
        }));
    }
    print(&describe(&actor, manifest))
}

/// Loads one component by itself.
pub(super) fn load(wasm: &[u8], compiling: &Compiling) -> anyhow::Result<Arc<Actor>> {
    let engine = Engine::new(&compiling.options(4), Arc::new(SystemClock::default()), None)
        .map_err(|e| anyhow::anyhow!("cannot start the WebAssembly engine: {e:#}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(engine.load(wasm))?)
}

fn describe(actor: &Actor, manifest: &Manifest) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "actor         {}", manifest.name);
    let _ = writeln!(out, "digest        {}", actor.digest());
    let _ = writeln!(out, "size          {} KiB", actor.size().div_ceil(1024));
    let _ = writeln!(out, "interface     {}", manifest.interface);
    let _ =
        writeln!(out, "built with    {}", if manifest.sdk.is_empty() { "(not said)" } else { &manifest.sdk });
    let asks = manifest.capabilities.texts();
    let _ = writeln!(out, "asks for      {}", asks.first().map_or("nothing", String::as_str));
    for more in asks.iter().skip(1) {
        let _ = writeln!(out, "              {more}");
    }
    for unknown in &manifest.capabilities.unknown {
        let _ = writeln!(out, "not known     {unknown} (this host cannot grant it)");
    }
    let policy = LimitPolicy::default();
    for line in limits::lines(manifest, &policy) {
        let _ = writeln!(out, "{line}");
    }
    for line in limits::above(manifest, &policy) {
        let _ = writeln!(out, "note          {line}");
    }
    for action in &manifest.actions {
        let recurs = action.recurring.as_ref().map(|r| format!(", every {}", r.period)).unwrap_or_default();
        let _ = writeln!(out, "action        {}{recurs}", action.name);
    }
    for filter in &manifest.filters {
        let _ = writeln!(out, "on event      {} -> {}", filter.event, filter.action);
    }
    for field in &manifest.schema.fields {
        let _ = writeln!(out, "field         {} ({})", field.name, field.kind.name());
    }
    out
}
