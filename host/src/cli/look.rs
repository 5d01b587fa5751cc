//! `actors|services|filters|schedules|jobs|dead|events list|show`, and what can be done to actors, jobs and dead letters.

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::log;

use super::{
    client::Host,
    kinds::{ActorName, All, Filters, JobId, LetterId, Name, OfJobs, OfService, columns},
    print, print_json,
    table::table,
};

/// What every kind of thing has.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Look<F: Filters, N: Name> {
    /// One line for each
    List(List<F>),
    /// All there is to know about one
    Show(One<N>),
}

/// What `list` takes.
#[derive(Debug, clap::Args)]
pub(super) struct List<F: Filters> {
    #[command(flatten)]
    filters: F,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on where the page before ended (its `next`)
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    host: Host,
}

/// What `show` takes, and what changes one thing.
#[derive(Debug, clap::Args)]
pub(super) struct One<N: Name> {
    #[command(flatten)]
    name: N,
    #[command(flatten)]
    host: Host,
}

/// What can be done with actors.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Actors {
    /// One line for each
    List(List<All>),
    /// All there is to know about one
    Show(One<ActorName>),
    /// Put a component into the host's folder and into service, in place of the actor's version before
    Upload(Upload),
    /// Put an actor back into service that was quarantined since it kept trapping
    Release(One<ActorName>),
}

/// What `actors upload` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Upload {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    host: Host,
}

/// What can be done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Jobs {
    /// One line for each, youngest first
    List(List<OfJobs>),
    /// All there is to know about one
    Show(One<JobId>),
    /// What it logged
    Logs(Logs),
    /// Cancel one that has not ended
    Cancel(One<JobId>),
}

/// What `jobs logs` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Logs {
    #[command(flatten)]
    name: JobId,
    /// Wait for further attempts until the job has ended
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    host: Host,
}

/// What can be done with dead letters.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Dead {
    /// One line for each, youngest first
    List(List<OfService>),
    /// All there is to know about one
    Show(One<LetterId>),
    /// Ask for the same job anew: with a new id, and all of its attempts
    Retry(One<LetterId>),
    /// Remove one from the list
    Discard(One<LetterId>),
}

fn list<F: Filters>(kind: &str, list: List<F>) -> anyhow::Result<()> {
    let mut query = list.filters.query();
    query.extend([("cursor", list.cursor), ("limit", Some(list.limit.to_string()))]);
    let mut query: Vec<_> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = format!("/api/v1/{kind}");
    let mut page = list.host.get(&path, &query)?;
    if list.host.json {
        return print_json(&page);
    }
    // A query that has to look through much answers with what it has found so far, even nothing.
    let mut items = Vec::new();
    let next = loop {
        items.extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        match next {
            Some(cursor) if items.len() < list.limit => {
                query.retain(|(name, _)| *name != "cursor" && *name != "limit");
                query.push(("cursor", cursor));
                query.push(("limit", (list.limit - items.len()).to_string()));
                page = list.host.get(&path, &query)?;
            }
            next => break next,
        }
    };
    print(&table(columns(kind), &items))?;
    if let Some(cursor) = next {
        eprintln!("there are more: --cursor {cursor}");
    }
    Ok(())
}

fn show<N: Name>(kind: &str, one: &One<N>) -> anyhow::Result<()> {
    print_json(&one.host.get(&format!("/api/v1/{kind}/{}", one.name.id()), &[])?)
}

fn act<N: Name>(kind: &str, one: &One<N>, verb: &str) -> anyhow::Result<()> {
    print_json(&one.host.post(&format!("/api/v1/{kind}/{}/{verb}", one.name.id()), &json!({}))?)
}

pub(super) fn look<F: Filters, N: Name>(kind: &str, look: Look<F, N>) -> anyhow::Result<()> {
    match look {
        Look::List(ask) => list(kind, ask),
        Look::Show(one) => show(kind, &one),
    }
}

pub(super) fn actors(actors: Actors) -> anyhow::Result<()> {
    match actors {
        Actors::List(ask) => list("actors", ask),
        Actors::Show(one) => show("actors", &one),
        Actors::Release(one) => act("actors", &one, "release"),
        Actors::Upload(Upload { file, host }) => {
            let wasm = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            print_json(&host.post_bytes("/api/v1/actors", &wasm)?)
        }
    }
}

pub(super) fn jobs(jobs: Jobs) -> anyhow::Result<()> {
    match jobs {
        Jobs::List(ask) => list("jobs", ask),
        Jobs::Show(one) => show("jobs", &one),
        Jobs::Cancel(one) => act("jobs", &one, "cancel"),
        Jobs::Logs(ask) => logs(&ask),
    }
}

pub(super) fn dead(dead: Dead) -> anyhow::Result<()> {
    match dead {
        Dead::List(ask) => list("dead", ask),
        Dead::Show(one) => show("dead", &one),
        Dead::Retry(one) => act("dead", &one, "retry"),
        Dead::Discard(one) => act("dead", &one, "discard"),
    }
}

fn logs(ask: &Logs) -> anyhow::Result<()> {
    let mut shown: Option<Vec<Value>> = None;
    loop {
        let job = ask.host.get(&format!("/api/v1/jobs/{}", ask.name.id()), &[])?;
        // Each attempt's log is there when the attempt has ended.
        let ended = job.get("finished_at").is_some_and(|at| !at.is_null());
        let lines = job.get("logs").and_then(Value::as_array).cloned().unwrap_or_default();
        // A job that is cancelled while it waits ends anew, and has no new lines.
        if (ended || !ask.follow) && shown.as_ref() != Some(&lines) {
            if ask.host.json {
                print_json(&lines)?;
            } else {
                for line in &lines {
                    let of = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
                    print(&format!(
                        "{} {:5} {}\n",
                        of("time"),
                        of("level").to_uppercase(),
                        log::plain(of("message"))
                    ))?;
                }
            }
            shown = Some(lines);
        }
        let state = job.get("state").and_then(Value::as_str).unwrap_or_default();
        if !ask.follow || matches!(state, "ok" | "error" | "cancelled") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
}
