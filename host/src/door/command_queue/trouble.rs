//! What stands in the way of the door, in words for a person: said once when it begins and once when it is over.

use std::time::{Duration, Instant};

use ays_redis::{Sort, Trouble};

use super::{config::Config, status::StatusReader};
use crate::clock;

/// A step of the door that Redis may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Claim,
    Wait,
    Drop,
}

/// Whether no command at all is answered.
fn is_connection(sort: Sort) -> bool {
    matches!(
        sort,
        Sort::Unreachable | Sort::Disconnected | Sort::Silent | Sort::Loading | Sort::TooManyClients
    )
}

/// Whether a trouble is the one that was said last, so that it is not said again.
fn is_same(sort: Sort, last: Sort) -> bool {
    // A server that has ended is lost first, and then cannot be reached.
    sort == last || (sort == Sort::Unreachable && last == Sort::Disconnected)
}

/// Follows what goes wrong and well, and says what changes.
#[derive(Debug)]
pub(super) struct Troubles {
    status: StatusReader,
    server: String,
    key: String,
    now: Option<Now>,
    was_connected: bool,
}

#[derive(Debug)]
struct Now {
    sort: Sort,
    step: Step,
    since: Instant,
}

impl Troubles {
    pub(super) fn new(config: &Config, status: StatusReader) -> Self {
        Self {
            status,
            server: config.address().to_string(),
            key: config.key().into(),
            now: None,
            was_connected: false,
        }
    }

    /// Redis refused a step.
    pub(super) fn refused(&mut self, step: Step, trouble: &Trouble) {
        let sort = trouble.sort();
        let reason = self.reason(trouble);
        let known = self.now.as_ref().is_some_and(|last| is_same(sort, last.sort));
        let since = self.now.as_ref().map_or_else(clock::instant, |last| last.since);
        self.now = Some(Now { sort, step, since });
        if !known {
            tracing::warn!("the command queue stands still: {reason}. Trying again until it works");
        }
        self.status.update(|status| {
            status.connected = false;
            status.last_error = Some(reason);
        });
    }

    /// Redis did a step. Says whether that ended a trouble.
    pub(super) fn went_well(&mut self, step: Step) -> bool {
        // That a connection could be made proves little: a server that loads its data lets anyone connect.
        let over = self.now.as_ref().is_some_and(|trouble| {
            trouble.step == step
                || (step == Step::Claim && (trouble.step == Step::Connect || is_connection(trouble.sort)))
        });
        if self.now.is_some() && !over {
            return false;
        }
        let server = &self.server;
        match self.now.take() {
            Some(trouble) => {
                let span = readable(clock::instant().saturating_duration_since(trouble.since));
                if is_connection(trouble.sort) && self.was_connected {
                    tracing::info!("connected to {server} again after {span}; the command queue goes on");
                } else {
                    tracing::info!("the command queue `{}` on {server} can be read, after {span}", self.key);
                }
            }
            None if !self.was_connected => {
                tracing::info!("reading the command queue `{}` on {server}", self.key);
            }
            None => return false,
        }
        self.was_connected = true;
        self.status.update(|status| {
            status.connected = true;
            status.last_error = None;
        });
        over
    }

    fn reason(&self, trouble: &Trouble) -> String {
        let (server, key, said) = (&self.server, &self.key, trouble.said());
        match trouble.sort() {
            Sort::Unreachable | Sort::Disconnected if self.was_connected => {
                format!("the connection to {server} is lost ({said})")
            }
            Sort::Unreachable => format!("{server} cannot be reached ({said})"),
            Sort::Silent => format!("{server} does not answer ({said})"),
            Sort::AuthRequired | Sort::WrongPassword | Sort::NoPermission => {
                format!(
                    "{server} denies access ({said}); the queue's URL takes USER:PASSWORD@ before the host, and the \
                     user needs to read and write `{key}` and `{key}:claim*`"
                )
            }
            Sort::ReadOnly => {
                format!("{server} is a read-only replica; the queue's URL needs to name the primary")
            }
            Sort::OutOfMemory => {
                format!("{server} is out of memory (maxmemory) and refuses to wait on the queue")
            }
            Sort::WrongType => format!(
                "a key of the queue is not what it should be: `{key}` and `{key}:claim:…` need to be lists, \
                 `{key}:claim:…:state` a hash, `{key}:claims` a set; on {server}, `redis-cli type KEY` says what each is"
            ),
            _ => trouble.to_string(),
        }
    }
}

/// A span as people say it: milliseconds below a second, then tenths of seconds, then minutes.
pub(super) fn readable(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        1..=119 => format!("{:.1} s", span.as_secs_f64()),
        seconds => format!("{} min", seconds / 60),
    }
}
