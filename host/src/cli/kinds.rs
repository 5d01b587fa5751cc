//! The kinds of things that a host has: which of them a list is to show, what names one, and the columns of its table.

use super::table::Column;

/// Which things of a kind a list is to show.
pub(super) trait Filters: clap::Args {
    /// The parameters that the API's list takes for it.
    fn query(self) -> Vec<(&'static str, Option<String>)>;
}

/// What names one thing of a kind.
pub(super) trait Name: clap::Args {
    /// As it stands in the API's path.
    fn id(&self) -> &str;
}

/// All of them.
#[derive(Debug, clap::Args)]
pub(super) struct All {}

impl Filters for All {
    fn query(self) -> Vec<(&'static str, Option<String>)> {
        Vec::new()
    }
}

/// Those of an actor.
#[derive(Debug, clap::Args)]
pub(super) struct OfActor {
    /// Only those of this actor
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

impl Filters for OfActor {
    fn query(self) -> Vec<(&'static str, Option<String>)> {
        vec![("actor", self.actor)]
    }
}

/// Those of a service.
#[derive(Debug, clap::Args)]
pub(super) struct OfService {
    /// Only those of this service (its key, actor__instance)
    #[arg(long, value_name = "KEY")]
    service: Option<String>,
}

impl Filters for OfService {
    fn query(self) -> Vec<(&'static str, Option<String>)> {
        vec![("service", self.service)]
    }
}

/// Those of a service or on an event.
#[derive(Debug, clap::Args)]
pub(super) struct OfEvent {
    /// Only those of this service (its key, actor__instance)
    #[arg(long, value_name = "KEY")]
    service: Option<String>,
    /// Only those on this event
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
}

impl Filters for OfEvent {
    fn query(self) -> Vec<(&'static str, Option<String>)> {
        vec![("service", self.service), ("event", self.event)]
    }
}

/// Jobs.
#[derive(Debug, clap::Args)]
pub(super) struct OfJobs {
    /// Only those on this service (its key, actor__instance)
    #[arg(long, value_name = "KEY")]
    service: Option<String>,
    /// Only those of this actor
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only those of this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Only those in this state: new, running, ok, retrying, error, cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those of this cause: event, schedule, run, init, api
    #[arg(long, value_name = "KIND")]
    cause: Option<String>,
    /// Only those created at this time or later: RFC 3339, or how long ago, as 90s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

impl Filters for OfJobs {
    fn query(self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("service", self.service),
            ("actor", self.actor),
            ("action", self.action),
            ("state", self.state),
            ("cause", self.cause),
            ("since", self.since),
        ]
    }
}

macro_rules! names {
    ($($kind:ident, $value:literal, $help:literal;)*) => {$(
        #[doc = $help]
        #[derive(Debug, clap::Args)]
        pub(super) struct $kind {
            #[arg(value_name = $value, help = $help)]
            id: String,
        }

        impl Name for $kind {
            fn id(&self) -> &str {
                &self.id
            }
        }
    )*};
}

names! {
    ActorName, "NAME", "The actor's name";
    ServiceKey, "KEY", "The service's key, actor__instance";
    FilterId, "ID", "The event filter's id, a number";
    ScheduleId, "SERVICE:ACTION", "The service's key and the action that recurs";
    JobId, "ID", "The job's id";
    LetterId, "ID", "The dead letter's id; of a job, the job's";
    EventId, "ID", "The event's id";
}

/// The columns of a list.
pub(super) fn columns(kind: &str) -> &'static [Column] {
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
