//! `ays-host inspect`.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use ays_core::{
    Digest,
    manifest::{LimitPolicy, Manifest},
};
use ays_engine::{Actor, Engine};
use ays_package::{InvalidSignature, Signature, Signer, digest, section};
use clap::builder::BoolishValueParser;
use serde_json::{Value, json};

use super::{compiling::Compiling, limits, print, print_json, trust};
use crate::{clock::SystemClock, log, package::PackageFile};

/// What `inspect` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Compile and run nothing: show the manifest as it is written into the component
    #[arg(long)]
    no_run: bool,
    #[command(flatten)]
    trust: trust::TrustArgs,
    #[command(flatten)]
    compiling: Compiling,
    /// Print JSON
    #[arg(long, env = "AYS_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// What is shown.
struct Seen {
    manifest: Arc<Manifest>,
    digest: Digest,
    size: usize,
    /// Whether the manifest is written into the component, too.
    is_inside: bool,
    signed: Signed,
}

/// Who signed it.
enum Signed {
    Nobody,
    /// Somebody says so; nobody checked.
    Claimed(Signature),
    Unreadable(InvalidSignature),
    By(Signer),
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let seen = look(args).with_context(|| args.file.display().to_string())?;
    if args.json {
        let signature = match &seen.signed {
            Signed::Nobody => Value::Null,
            Signed::Claimed(claim) => {
                json!({"key": claim.key().to_string(), "trusted": false, "comment": claim.comment()})
            }
            Signed::Unreadable(why) => json!({"trusted": false, "error": why.to_string()}),
            Signed::By(signer) => {
                json!({"key": signer.key.to_string(), "trusted": true, "comment": signer.comment})
            }
        };
        return print_json(&json!({
            "name": seen.manifest.name,
            "digest": seen.digest,
            "size_bytes": seen.size,
            "signature": signature,
            "manifest": &*seen.manifest,
            "limits": LimitPolicy::default().of(&seen.manifest),
        }));
    }
    print(&describe(&seen))
}

fn look(args: &Args) -> anyhow::Result<Seen> {
    let PackageFile { component, signature } =
        PackageFile::read_to_load(&args.file, args.compiling.component_size)?;
    let signed = match (args.trust.keys(), signature) {
        (Some(trust), signature) => Signed::By(trust.check(&component, signature.as_deref())?),
        (None, None) => Signed::Nobody,
        (None, Some(text)) => text.parse().map_or_else(Signed::Unreadable, Signed::Claimed),
    };
    let inside = section::read(&component);
    let manifest = match (&inside, args.no_run) {
        (_, false) => load(&component, &args.compiling)?.manifest().clone(),
        (Ok(Some(text)), true) => {
            Arc::new(serde_json::from_str(text).context("the manifest in it is wrong")?)
        }
        (Ok(None), true) => {
            anyhow::bail!(
                "there is no manifest inside; `ays-host build` writes one, and without `--no-run` it is asked"
            )
        }
        (Err(why), true) => return Err(why.clone().into()),
    };
    let is_inside = inside.is_ok_and(|inside| inside.is_some());
    Ok(Seen { manifest, digest: digest(&component), size: component.len(), is_inside, signed })
}

/// Loads one component by itself.
pub(super) fn load(wasm: &[u8], compiling: &Compiling) -> anyhow::Result<Arc<Actor>> {
    let engine = Engine::new(&compiling.options(4), Arc::new(SystemClock), None)
        .map_err(|e| anyhow::anyhow!("cannot start the WebAssembly engine: {e:#}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(engine.load(wasm))?)
}

fn describe(seen: &Seen) -> String {
    use std::fmt::Write as _;
    let manifest = &seen.manifest;
    let signed = match &seen.signed {
        Signed::Nobody => "by nobody".into(),
        Signed::Claimed(claim) => format!("by {}, it says; nobody checked (`--trust KEY` does)", claim.key()),
        Signed::Unreadable(why) => format!("by nobody: what lies beside it {why}"),
        Signed::By(signer) => {
            format!("by {}, which is trusted: {}", signer.key, log::plain(&signer.comment))
        }
    };
    let inside = if seen.is_inside { "is written into it" } else { "is not written into it" };
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "actor         {}", manifest.name);
    let _ = writeln!(out, "digest        {}", seen.digest);
    let _ = writeln!(out, "signed        {signed}");
    let _ = writeln!(out, "size          {} KiB", seen.size.div_ceil(1024));
    let _ = writeln!(out, "manifest      {inside}");
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
