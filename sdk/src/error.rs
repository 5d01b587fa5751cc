//! Errors: why an action did not succeed, and whether another attempt may.

use std::fmt;

use crate::bindings::ays::actor::types;

/// What actions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an action did not succeed.
///
/// `?` turns every [`std::error::Error`] into one, whose message names its sources too. It is retried, as the action's
/// policy says, unless it was made with [`Error::fatal`] or [`ResultExt::fatal`], or the host refused a call.
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry: bool,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The actor's own.
    App,
    /// The host refused a call: its arguments are wrong.
    Invalid,
    /// The host refused a call: the actor was not granted it.
    Denied,
    /// The host refused a call: it would exceed a limit of the job or the service.
    Limit,
}

impl Error {
    /// An error after which another attempt may succeed: something outside did not answer.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::App, message: message.to_string(), retry: true }
    }

    /// An error after which no further attempt makes sense: the job goes to the dead-letter list at once.
    pub fn fatal(message: impl fmt::Display) -> Self {
        Self { retry: false, ..Self::new(message) }
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether another attempt may succeed.
    pub fn retries(&self) -> bool {
        self.retry
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn into_failure(self) -> types::Failure {
        types::Failure { message: self.message, retry: self.retry }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// `Error` itself is no `std::error::Error`: this conversion could not exist otherwise.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors repeat their source in their own message.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

/// A call that was not granted: the host says what would grant it.
pub(crate) fn denied(call: &str, why: &str) -> Error {
    Error { kind: ErrorKind::Denied, message: format!("{call}: {why}"), retry: false }
}

/// A call that the host refused. The same call would be refused again, so it is not retried.
pub(crate) fn refused(call: &str, error: types::Error) -> Error {
    let (kind, why) = match error {
        types::Error::Invalid(why) => (ErrorKind::Invalid, why),
        types::Error::Denied(why) => (ErrorKind::Denied, why),
        types::Error::Limit(why) => (ErrorKind::Limit, why),
    };
    Error { kind, message: format!("{call}: {why}"), retry: false }
}

/// What can be said about an error on the way up.
pub trait ResultExt<T> {
    /// No further attempt makes sense.
    ///
    /// # Errors
    /// The error, not to be retried.
    fn fatal(self) -> Result<T>;

    /// Puts what was being done before the error's message: `reading the list: connection refused`.
    ///
    /// # Errors
    /// The error with its new message.
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn fatal(self) -> Result<T> {
        self.map_err(|error| Error { retry: false, ..error.into() })
    }

    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Error { message: format!("{doing}: {}", error.message), ..error }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no number")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    fn outer() -> std::result::Result<u8, Outer> {
        "x".parse().map_err(Outer)
    }

    #[test]
    fn an_error_names_its_sources_and_is_retried_unless_it_is_fatal() {
        let error = Error::from(outer().unwrap_err());
        assert_eq!(error.message(), "no number: invalid digit found in string");
        assert!(error.retries());

        let error = outer().context("reading port").fatal().unwrap_err();
        assert_eq!(error.message(), "reading port: no number: invalid digit found in string");
        assert!(!error.retries());
        assert!(!Error::fatal("gone").retries());
    }

    #[test]
    fn a_refused_call_says_which_and_is_not_retried() {
        let error = refused("emit ping", types::Error::Limit("1000 events are the most of a job".into()));
        assert_eq!(error.message(), "emit ping: 1000 events are the most of a job");
        assert_eq!((error.kind(), error.retries()), (ErrorKind::Limit, false));
    }
}
