//! `actors|services|filters|schedules|jobs|dead|events list|show`, and what can be done to jobs and dead letters.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::log;

use super::{
    client::Host,
    print, print_json,
    table::{Column, table},
};

/// What every kind of thing has.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Look {
    /// One line for each
    List(List),
    /// All there is to know about one
    Show(One),
}

/// What `list` takes. What does not apply to a kind of thing is ignored.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only those of this service (its key, actor__instance)
    #[arg(long, value_name = "KEY")]
    service: Option<String>,
    /// Only those of this actor
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only those of this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Only those on this event
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only jobs in this state: new, running, ok, retrying, error, cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only jobs of this cause: event, schedule, run, init, api
    #[arg(long, value_name = "KIND")]
    cause: Option<String>,
    /// Only jobs created at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on where the page before ended (its `next`)
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    host: Host,
}

/// What `show` takes.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Its id: a service's key, an actor's name, a schedule's SERVICE:ACTION
    id: String,
    #[command(flatten)]
    host: Host,
}

/// What can be done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Jobs {
    /// One line for each, youngest first
    List(List),
    /// All there is to know about one
    Show(One),
    /// What it logged
    Logs(Logs),
    /// Cancel one that has not ended
    Cancel(One),
}

/// What `jobs logs` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Logs {
    /// The job's id
    id: String,
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
    List(List),
    /// All there is to know about one
    Show(One),
    /// Put a job back into its service's mailbox
    Retry(One),
    /// Remove one from the list
    Discard(One),
}

fn columns(kind: &str) -> &'static [Column] {
    match kind {
        "actors" => &[("NAME", "/name"), ("DIGEST", "/digest"), ("BYTES", "/size_bytes"), ("FILE", "/file")],
        "services" => &[("KEY", "/key"), ("DATA", "/data"), ("UPDATED", "/updated_at")],
        "filters" => &[
            ("ID", "/id"),
            ("SERVICE", "/service"),
            ("EVENT", "/event"),
            ("ACTION", "/action"),
            ("CHANNEL", "/channel"),
            ("TAGS", "/tags"),
        ],
        "schedules" => &[
            ("ID", "/id"),
            ("PERIOD", "/period"),
            ("NEXT", "/next_due"),
            ("WAITS FOR", "/waits_for"),
            ("MISSED", "/missed_count"),
        ],
        "jobs" => &[
            ("ID", "/id"),
            ("STATE", "/state"),
            ("SERVICE", "/service"),
            ("ACTION", "/action"),
            ("CAUSE", "/cause/kind"),
            ("ATTEMPT", "/attempt"),
            ("CREATED", "/created_at"),
            ("ERROR", "/error/message"),
        ],
        "dead" => &[
            ("ID", "/id"),
            ("AT", "/at"),
            ("SERVICE", "/job/service"),
            ("ACTION", "/job/action"),
            ("REASON", "/reason"),
            ("ENTRY", "/entry/raw"),
        ],
        _ => &[("ID", "/id"), ("EVENT", "/event"), ("ARGS", "/args"), ("ACCEPTED", "/accepted_at")],
    }
}

fn list(kind: &str, list: List) -> anyhow::Result<()> {
    let query = [
        ("service", list.service),
        ("actor", list.actor),
        ("action", list.action),
        ("event", list.event),
        ("state", list.state),
        ("cause", list.cause),
        ("since", list.since),
        ("cursor", list.cursor),
        ("limit", Some(list.limit.to_string())),
    ];
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

fn show(kind: &str, one: &One) -> anyhow::Result<()> {
    print_json(&one.host.get(&format!("/api/v1/{kind}/{}", one.id), &[])?)
}

fn act(kind: &str, one: &One, verb: &str) -> anyhow::Result<()> {
    print_json(&one.host.post(&format!("/api/v1/{kind}/{}/{verb}", one.id), &json!({}))?)
}

pub(super) fn look(kind: &str, look: Look) -> anyhow::Result<()> {
    match look {
        Look::List(ask) => list(kind, ask),
        Look::Show(one) => show(kind, &one),
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
    let mut shown = Value::Null;
    loop {
        let job = ask.host.get(&format!("/api/v1/jobs/{}", ask.id), &[])?;
        // Each attempt's log is there when the attempt has ended.
        let ended = job.get("finished_at").cloned().unwrap_or_default();
        let lines = job.get("logs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if ended != shown {
            shown = ended;
            if ask.host.json {
                print_json(&lines)?;
            } else {
                for line in lines {
                    let of = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
                    print(&format!(
                        "{} {:5} {}\n",
                        of("time"),
                        of("level").to_uppercase(),
                        log::plain(of("message"))
                    ))?;
                }
            }
        }
        let state = job.get("state").and_then(Value::as_str).unwrap_or_default();
        if !ask.follow || matches!(state, "ok" | "error" | "cancelled") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
}
