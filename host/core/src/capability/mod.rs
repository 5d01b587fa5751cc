//! Capabilities: what an actor asks for, what it is granted, and whether a call is within both.
//!
//! A [`Capability`] is one line of text, the same wherever it stands: in an actor's manifest (what it asks for), under
//! `grants:` in a blueprint or in the host's grants file, and in the message of a call that was denied.
//!
//! | text | allows |
//! |---|---|
//! | `http GET,POST https://api.example.com` | these methods, at this scheme, host and port |
//! | `http https://*.example.com:8443` | any method, at any host below `example.com` |
//! | `http http://db.internal:9200 private` | the same where the name leads to a private or loopback address |
//! | `secret api_key` | to read the secret of this name |
//! | `emit order_*` | to emit events whose names begin so |
//! | `listen order_*` | to subscribe to them |
//! | `kv` | to keep key-value pairs with its service |
//! | `events` | `emit *` and `listen *`, as manifests said it at first |
//!
//! **An actor has what it asks for and is granted, and is not denied.** Events are the exception: an actor that says
//! nothing of `emit` asks for any event, and where no grant for it says anything of `emit`, any is granted; the same
//! for `listen`. So actors that only talk to each other need no grants, and an operator who wants to restrict them
//! says which.
//!
//! [`Grants`] are who is granted what; [`Access`] is what an actor has, and answers whether a call is within it.

mod access;
mod address;
mod grants;
mod http;
mod pattern;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use access::{Access, Denied, Reach};
pub use address::AddressKind;
pub(crate) use grants::EVERY;
pub use grants::{Granted, Grants, Shortfall};
pub use http::{Host, HttpCall, HttpRule, Scheme};
pub use pattern::{EventPattern, SecretPattern, check_secret_name};

use crate::problem::{nearest, quote};

/// One thing that an actor may ask for and be granted. Its text is documented in the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Capability {
    /// Outbound HTTP.
    Http(HttpRule),
    /// Reading secrets.
    Secret(SecretPattern),
    /// Emitting events.
    Emit(EventPattern),
    /// Subscribing to events.
    Listen(EventPattern),
    /// Key-value pairs of the service's own.
    Kv,
}

/// A capability that is none: says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidCapability(pub(crate) String);

impl InvalidCapability {
    fn new(text: &str, wrong: &str) -> Self {
        let goes_on = ["is ", "has ", "names "].iter().any(|word| wrong.starts_with(word));
        Self(format!("{}{} {wrong}", quote(text), if goes_on { "" } else { ":" }))
    }
}

/// The first words of capabilities.
const KINDS: [&str; 5] = ["http", "secret", "emit", "listen", "kv"];

impl Capability {
    /// Its first word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Secret(_) => "secret",
            Self::Emit(_) => "emit",
            Self::Listen(_) => "listen",
            Self::Kv => "kv",
        }
    }

    /// Whether whoever has this one has the other one, too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(own), Self::Http(other)) => own.covers(other),
            (Self::Secret(own), Self::Secret(other)) => own.covers(other),
            (Self::Emit(own), Self::Emit(other)) | (Self::Listen(own), Self::Listen(other)) => {
                own.covers(other)
            }
            (Self::Kv, Self::Kv) => true,
            _ => false,
        }
    }
}

impl FromStr for Capability {
    type Err = InvalidCapability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let (kind, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let rest = rest.trim_start();
        let wrong = |what: String| InvalidCapability::new(text, &what);
        match kind {
            "http" => rest.parse().map(Self::Http).map_err(wrong),
            "secret" => rest.parse().map(Self::Secret).map_err(wrong),
            "emit" => rest.parse().map(Self::Emit).map_err(wrong),
            "listen" => rest.parse().map(Self::Listen).map_err(wrong),
            "kv" if rest.is_empty() => Ok(Self::Kv),
            "kv" => {
                Err(wrong(format!("has `{rest}` after `kv`, which stands by itself; `kv` would be right")))
            }
            _ => {
                let meant = nearest(kind, KINDS).map(|meant| format!("did you mean `{meant}`? "));
                Err(wrong(format!(
                    "is no capability; {}one begins with {}, as `http GET https://api.example.com`",
                    meant.unwrap_or_default(),
                    KINDS.join(", ")
                )))
            }
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(rule) => write!(f, "http {rule}"),
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::Emit(event) => write!(f, "emit {event}"),
            Self::Listen(event) => write!(f, "listen {event}"),
            Self::Kv => f.write_str("kv"),
        }
    }
}

impl TryFrom<String> for Capability {
    type Error = InvalidCapability;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.to_string()
    }
}

/// Several capabilities, each once, in the order in which they were said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<Capability>);

impl Capabilities {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Capability> {
        self.0.iter()
    }

    /// Adds one, unless it is there.
    pub fn add(&mut self, capability: Capability) {
        if !self.0.contains(&capability) {
            self.0.push(capability);
        }
    }

    /// Reads one capability, or `events`, which stands for two, and adds it.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(&mut self, text: &str) -> Result<(), InvalidCapability> {
        if text.trim() == "events" {
            self.add(Capability::Emit(EventPattern::any()));
            self.add(Capability::Listen(EventPattern::any()));
        } else {
            self.add(text.parse()?);
        }
        Ok(())
    }

    /// Whether they say which events may be emitted.
    fn say_emit(&self) -> bool {
        self.iter().any(|capability| matches!(capability, Capability::Emit(_)))
    }

    /// Whether they say which events may be subscribed to.
    fn say_listen(&self) -> bool {
        self.iter().any(|capability| matches!(capability, Capability::Listen(_)))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        let mut all = Self::default();
        all.extend(capabilities);
        all
    }
}

impl Extend<Capability> for Capabilities {
    fn extend<I: IntoIterator<Item = Capability>>(&mut self, capabilities: I) {
        capabilities.into_iter().for_each(|capability| self.add(capability));
    }
}

impl Serialize for Capabilities {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut capabilities = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            capabilities.read(&text).map_err(serde::de::Error::custom)?;
        }
        Ok(capabilities)
    }
}

/// What a manifest asks for. A manifest may be of a newer SDK than this host: what the host does not know is kept as it
/// is written, to be told of, and cannot be granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// What can be granted.
    pub known: Capabilities,
    /// What cannot.
    pub unknown: Vec<String>,
}

impl Asked {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.unknown.is_empty()
    }

    /// What it asks for, for people: one text each.
    pub fn texts(&self) -> Vec<String> {
        self.known.iter().map(ToString::to_string).chain(self.unknown.iter().cloned()).collect()
    }
}

impl Serialize for Asked {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.texts())
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut asked = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            if asked.known.read(&text).is_err() {
                asked.unknown.push(text);
            }
        }
        Ok(asked)
    }
}
