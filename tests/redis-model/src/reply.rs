//! What the server answers.

use std::borrow::Cow;

/// A reply of the server, in the terms of its protocol's version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing there: the null of a string or of an array.
    Nil,
    /// An integer.
    Int(i64),
    /// A status, mostly `OK`.
    Status(String),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// A list of replies.
    Array(Vec<Reply>),
    /// An error: its code, a blank, and what is wrong.
    Error(String),
}

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::Status("OK".to_owned())
    }

    pub(crate) fn bulk(bytes: &[u8]) -> Self {
        Self::Bulk(bytes.to_vec())
    }

    /// A count of something held in memory.
    pub(crate) fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).expect("a count of things in memory fits"))
    }

    pub(crate) fn bulk_or_nil<B: AsRef<[u8]>>(bytes: Option<B>) -> Self {
        bytes.map_or(Self::Nil, |bytes| Self::bulk(bytes.as_ref()))
    }

    pub(crate) fn bulks<B: AsRef<[u8]>>(all: impl IntoIterator<Item = B>) -> Self {
        Self::Array(all.into_iter().map(|bytes| Self::bulk(bytes.as_ref())).collect())
    }
}

/// Why a command failed: the text of the error reply.
pub(crate) type Fault = Cow<'static, str>;

/// How a command ended.
pub(crate) type Outcome = Result<Reply, Fault>;

pub(crate) const WRONG_TYPE: Fault =
    Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value");
pub(crate) const NOT_AN_INTEGER: Fault = Cow::Borrowed("ERR value is not an integer or out of range");
pub(crate) const NOT_POSITIVE: Fault = Cow::Borrowed("ERR value is out of range, must be positive");
pub(crate) const NOT_A_FLOAT: Fault = Cow::Borrowed("ERR value is not a valid float");
pub(crate) const SYNTAX: Fault = Cow::Borrowed("ERR syntax error");
pub(crate) const OVERFLOW: Fault = Cow::Borrowed("ERR increment or decrement would overflow");

/// The error of a command whose arguments are too few, too many, or not in pairs.
pub(crate) fn wrong_arity(command: &str) -> Fault {
    format!("ERR wrong number of arguments for '{}' command", command.to_lowercase()).into()
}
