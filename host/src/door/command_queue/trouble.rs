//! What stands in the way of the door, in words for a person: said once when it begins and once when it is over.

use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError};

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

/// What sort of trouble: while it stays the same, it is not said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Unreachable,
    Silent,
    Loading,
    Denied,
    ReadOnly,
    Full,
    WrongType,
    CannotSave,
    Busy,
    Old,
    Other,
}

impl Sort {
    fn of(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Self::Silent;
        }
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::Denied;
        }
        // Redis before 7 has the code of an error inside of a script only in its text.
        let code = error.code().unwrap_or_default();
        let text = error.to_string();
        let is = |token: &str| code == token || text.contains(token);
        if is("LOADING") || code == "MASTERDOWN" {
            Self::Loading
        } else if is("NOAUTH") || is("WRONGPASS") || is("NOPERM") {
            Self::Denied
        } else if is("READONLY") {
            Self::ReadOnly
        } else if is("OOM command") || code == "OOM" {
            Self::Full
        } else if is("WRONGTYPE") {
            Self::WrongType
        } else if is("MISCONF") {
            Self::CannotSave
        } else if code == "BUSY" {
            Self::Busy
        } else if text.to_lowercase().contains("unknown command") || text.contains("Unknown Redis command") {
            Self::Old
        } else if error.is_io_error() || error.is_connection_dropped() {
            Self::Unreachable
        } else {
            Self::Other
        }
    }

    /// Whether no command at all is answered.
    fn is_connection(self) -> bool {
        matches!(self, Self::Unreachable | Self::Silent | Self::Loading)
    }
}

/// Follows what goes wrong and well, and says what changes.
#[derive(Debug)]
pub(super) struct Troubles {
    status: StatusReader,
    server: String,
    key: String,
    now: Option<Trouble>,
    was_connected: bool,
}

#[derive(Debug)]
struct Trouble {
    sort: Sort,
    step: Step,
    since: Instant,
}

impl Troubles {
    pub(super) fn new(config: &Config, status: StatusReader) -> Self {
        Self {
            status,
            server: config.server().into(),
            key: config.key().into(),
            now: None,
            was_connected: false,
        }
    }

    /// Redis refused a step.
    pub(super) fn refused(&mut self, step: Step, error: &RedisError) {
        let sort = Sort::of(error);
        let reason = self.reason(sort, error);
        let known = self.now.as_ref().is_some_and(|trouble| trouble.sort == sort);
        let since = self.now.as_ref().map_or_else(clock::instant, |trouble| trouble.since);
        self.now = Some(Trouble { sort, step, since });
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
                || (step == Step::Claim && (trouble.step == Step::Connect || trouble.sort.is_connection()))
        });
        if self.now.is_some() && !over {
            return false;
        }
        let server = &self.server;
        match self.now.take() {
            Some(trouble) => {
                let span = readable(clock::instant().saturating_duration_since(trouble.since));
                if trouble.sort.is_connection() && self.was_connected {
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

    fn reason(&self, sort: Sort, error: &RedisError) -> String {
        let (server, key) = (&self.server, &self.key);
        match sort {
            Sort::Unreachable if self.was_connected => {
                format!("the connection to {server} is lost ({error})")
            }
            Sort::Unreachable => format!("{server} cannot be reached ({error})"),
            Sort::Silent => format!("{server} does not answer ({error})"),
            Sort::Loading => format!("{server} is loading its data"),
            Sort::Denied => {
                format!(
                    "{server} denies access ({error}); the queue's URL takes USER:PASSWORD@ before the host, and the \
                         user needs to read and write `{key}` and `{key}:claim*`"
                )
            }
            Sort::ReadOnly => {
                format!("{server} is a read-only replica; the queue's URL needs to name the primary")
            }
            Sort::Full => format!("{server} is out of memory (maxmemory) and refuses to wait on the queue"),
            Sort::WrongType => format!(
                "a key of the queue is not what it should be: `{key}` and `{key}:claim:…` need to be lists, \
                 `{key}:claim:…:state` a hash, `{key}:claims` a set; on {server}, `redis-cli type KEY` says what each is"
            ),
            Sort::CannotSave => {
                format!("{server} cannot write to its disk, and so takes no writes ({error})")
            }
            Sort::Busy => format!("{server} is busy with somebody's script ({error})"),
            Sort::Old => {
                format!("{server} is too old ({error}); Redis 6.2 or Valkey 7.2, or newer, is needed")
            }
            Sort::Other => format!("{server}: {error}"),
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
