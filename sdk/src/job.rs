//! The job that an action executes.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{Error, Result, bindings, service::Service};

/// What an action is told about the job that it executes.
#[derive(Clone, Debug)]
pub struct Job {
    /// The job's id, a ULID. It is the same in all attempts of the job, so it serves as the idempotency key for effects
    /// outside the host.
    pub id: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// When the job was created, in milliseconds since 1970-01-01T00:00:00Z.
    pub created_at: u64,
    args: String,
    cause: String,
}

impl Job {
    /// The arguments as `T`. An event handler gets the event's args as they were sent: usually a list, so `Vec<String>`
    /// or a tuple; [`serde_json::Value`] takes anything.
    ///
    /// # Errors
    /// If they have another form. It is not retried, since they will not change.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.args).map_err(|error| {
            Error::fatal(format_args!("the job's args do not fit: {error}; they are {}", self.shown_args()))
        })
    }

    /// The arguments as JSON text.
    pub fn args_json(&self) -> &str {
        &self.args
    }

    /// Why the job exists.
    pub fn cause(&self) -> Cause {
        serde_json::from_str(&self.cause).unwrap_or(Cause::Other)
    }

    /// The cause as JSON text, with all that the host tells about it.
    pub fn cause_json(&self) -> &str {
        &self.cause
    }

    /// The service on which the job runs.
    pub fn service(&self) -> Service {
        Service::own()
    }

    /// The arguments for a message: cut where they are long.
    pub(crate) fn shown_args(&self) -> String {
        let mut shown: String = self.args.chars().take(200).collect();
        if shown.len() < self.args.len() {
            shown.push('…');
        }
        shown
    }
}

impl From<bindings::Job> for Job {
    fn from(job: bindings::Job) -> Self {
        let bindings::Job { id, args, attempt, cause, created_at } = job;
        Self { id, attempt, created_at, args, cause }
    }
}

/// Why a job exists.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Cause {
    /// One of the service's event filters matched.
    #[non_exhaustive]
    Event {
        /// The event's id.
        id: String,
        /// Its name as it was sent.
        event: String,
    },
    /// A recurring action was due.
    #[non_exhaustive]
    Schedule {
        /// The occurrence's due time, RFC 3339.
        due_at: String,
    },
    /// It is part of a run.
    #[non_exhaustive]
    Run {
        /// The run's id.
        id: String,
    },
    /// The service was created, or its data changed by a blueprint.
    #[non_exhaustive]
    Init {},
    /// A client asked for it.
    #[non_exhaustive]
    Api {},
    /// A cause that this version of the SDK does not know: see [`Job::cause_json`].
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(args: &str, cause: &str) -> Job {
        Job { id: "1".into(), attempt: 1, created_at: 0, args: args.into(), cause: cause.into() }
    }

    #[test]
    fn args_take_the_form_that_is_asked_for_or_say_why_not() {
        let job = job(r#"["hello prince", 3]"#, "{}");
        assert_eq!(job.args::<(String, u8)>().unwrap(), ("hello prince".into(), 3));
        let error = job.args::<Vec<String>>().unwrap_err();
        assert!(error.message().contains(r#"they are ["hello prince", 3]"#), "{error}");
        assert!(!error.retries());
    }

    #[test]
    fn a_cause_from_a_newer_host_is_no_error() {
        let event = r#"{"kind":"event","id":"01J","event":"Ping","depth":2}"#;
        assert_eq!(job("[]", event).cause(), Cause::Event { id: "01J".into(), event: "Ping".into() });
        assert_eq!(job("[]", r#"{"kind":"init","blueprint":"a.yaml"}"#).cause(), Cause::Init {});
        assert_eq!(job("[]", r#"{"kind":"comet"}"#).cause(), Cause::Other);
    }
}
