//! `apply`, `run`, `emit`: what is asked of a running host.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Context as _, bail};
use ays_core::blueprint::Step;
use serde_json::{Value, json};

use super::{AlreadyTold, client::Host, print, print_json};
use crate::{apply::Source, log};

/// What `apply` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// Blueprints: files, or folders of *.yaml
    #[arg(value_name = "BLUEPRINT", required = true)]
    blueprints: Vec<PathBuf>,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
    /// Grant actors what they ask for, and keep that; without it an actor that asks for more than it is granted is a
    /// mistake
    #[arg(long)]
    grant: bool,
    #[command(flatten)]
    host: Host,
}

pub(super) fn apply(args: Apply) -> anyhow::Result<()> {
    let sources = Source::read_all(&args.blueprints)?;
    let sources: Vec<_> =
        sources.iter().map(|source| json!({"name": source.name, "text": source.text})).collect();
    let path = format!("/api/v1/blueprints?dry_run={}&grant={}", args.dry_run, args.grant);
    let answer = args.host.post(&path, &json!({"blueprints": sources}))?;
    if args.host.json {
        return print_json(&answer);
    }
    let steps = answer.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let steps: Vec<Step> =
        steps.iter().filter_map(|step| serde_json::from_value(step.clone()).ok()).collect();
    print(&steps.iter().map(|step| format!("{step}\n")).collect::<String>())
}

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The action
    action: String,
    /// Only on services whose actor has this name (a regular expression for the whole name)
    #[arg(long, value_name = "RX", default_value = "")]
    actor: String,
    /// Only on services whose instance, or key, has this name (a regular expression for the whole name)
    #[arg(long, value_name = "RX", default_value = "")]
    service: String,
    /// The action's arguments, any JSON
    #[arg(long, value_name = "JSON", default_value = "[]")]
    args: String,
    /// Also where it is done already
    #[arg(long)]
    force: bool,
    /// Wait until all jobs have ended, and print how
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    host: Host,
}

pub(super) fn run(args: Run) -> anyhow::Result<()> {
    let given: Value = serde_json::from_str(&args.args).with_context(|| {
        format!("--args {}: it is not JSON; a list of texts is '[\"a\", \"b\"]'", args.args)
    })?;
    let ask = json!({"action": args.action, "actor": args.actor, "service": args.service, "args": given, "force": args.force});
    let mut run = args.host.post("/api/v1/run", &ask)?;
    let id = run.get("id").and_then(Value::as_str).context("the host's answer has no id")?.to_owned();
    let mut nap = Duration::from_millis(2);
    while args.wait && run.get("state").and_then(Value::as_str) == Some("running") {
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(200));
        run = args.host.get(&format!("/api/v1/runs/{id}"), &[])?;
    }
    let state = run.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
    if args.host.json {
        print_json(&run)?;
    } else {
        for (number, step) in run.get("steps").and_then(Value::as_array).into_iter().flatten().enumerate() {
            for task in step.as_array().into_iter().flatten() {
                let of = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                print(&format!("step {} {} {}\n", number + 1, of("service"), of("action")))?;
            }
        }
        print(&format!("run {id} {state}\n"))?;
    }
    let failed = run.get("failed").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for job in failed.iter().filter_map(Value::as_str) {
        let job = args.host.get(&format!("/api/v1/jobs/{job}"), &[])?;
        let of = |at: &str| job.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (service, action) = (of("/service"), of("/action"));
        eprintln!(
            "{service} {action}: {} ({}): {}",
            of("/state"),
            of("/error/kind"),
            log::plain(&of("/error/message"))
        );
    }
    if state == "error" { Err(AlreadyTold.into()) } else { Ok(()) }
}

/// What `emit` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Emit {
    /// The event's name; case does not count
    event: String,
    /// The event's args, as texts
    #[arg(conflicts_with = "args_json")]
    args: Vec<String>,
    /// The event's args, as any JSON; what is printed is JSON in any case
    #[arg(long = "json", value_name = "ARGS", id = "args_json")]
    args_json: Option<String>,
    /// The running host: http://ADDR:PORT
    #[arg(long = "host", value_name = "URL", env = "AYS_HOST", default_value = "http://127.0.0.1:8642")]
    host: String,
}

pub(super) fn emit(args: Emit) -> anyhow::Result<()> {
    let given: Value = match &args.args_json {
        Some(text) => serde_json::from_str(text).with_context(|| format!("--json {text}: it is not JSON"))?,
        None => json!(args.args),
    };
    if args.event.trim().is_empty() {
        bail!("the event's name is empty");
    }
    let host = Host::at(args.host);
    let answer = host.post("/api/v1/events", &json!({"event": args.event, "args": given}))?;
    print(&format!("{answer}\n"))
}
