//! Names of actors, services and events.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// What a name may consist of.
const RULE: &str = "letters, digits, `-`, `_` and `.`";

/// A name that is not one: says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(String);

fn check(what: &str, name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName(format!("the {what} is empty; it takes {RULE}")));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
        Some(c) => Err(InvalidName(format!("{what} `{name}` has {c:?} in it; it takes {RULE}"))),
        None if name.len() > 128 => {
            Err(InvalidName(format!("{what} `{name:.20}…` has {} characters; 128 are the most", name.len())))
        }
        None => Ok(()),
    }
}

/// Checks the name of an action: 1 to 128 letters, digits, `-`, `_` and `.`.
///
/// # Errors
/// Says what is wrong and what would be right.
pub fn check_action(name: &str) -> Result<(), InvalidName> {
    check("action name", name)
}

/// The name of an actor: letters, digits, `-`, `_`, `.`, without `__`, without `_` at its end and `.` at its beginning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorName(Arc<str>);

impl ActorName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `.`: what `consume:` and `parent:` fields name.
    pub fn role(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl FromStr for ActorName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        check("actor name", name)?;
        if name.contains("__") {
            return Err(InvalidName(format!(
                "actor name `{name}` has `__` in it, which parts actor and instance in a service's key"
            )));
        }
        if name.ends_with('_') {
            return Err(InvalidName(format!(
                "actor name `{name}` ends with `_`, so the `__` after it in a service's key would be found too early"
            )));
        }
        if name.starts_with('.') {
            return Err(InvalidName(format!(
                "actor name `{name}` begins with `.`; the part before the first `.` is its role, and must not be empty"
            )));
        }
        Ok(Self(name.into()))
    }
}

impl TryFrom<String> for ActorName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<ActorName> for String {
    fn from(name: ActorName) -> Self {
        name.0.as_ref().into()
    }
}

impl fmt::Display for ActorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of a service, `actor__instance`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceKey {
    key: Arc<str>,
    actor_len: usize,
}

impl ServiceKey {
    /// The key of an instance of an actor.
    ///
    /// # Errors
    /// If the instance's name is not one.
    pub fn new(actor: &ActorName, instance: &str) -> Result<Self, InvalidName> {
        format!("{actor}__{instance}").parse()
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// The actor's name.
    pub fn actor(&self) -> &str {
        self.key.get(..self.actor_len).unwrap_or_default()
    }

    /// The instance's name.
    pub fn instance(&self) -> &str {
        self.key.get(self.actor_len + 2..).unwrap_or_default()
    }
}

impl FromStr for ServiceKey {
    type Err = InvalidName;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let Some((actor, instance)) = key.split_once("__") else {
            return Err(InvalidName(format!(
                "`{key}` is not a service's key; it has the form actor__instance"
            )));
        };
        actor.parse::<ActorName>()?;
        check("instance name", instance)?;
        Ok(Self { key: key.into(), actor_len: actor.len() })
    }
}

impl TryFrom<String> for ServiceKey {
    type Error = InvalidName;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        key.parse()
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> Self {
        key.key.as_ref().into()
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// The name of an event, as it was sent. Two names are equal if they differ only in case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventName {
    sent: Arc<str>,
    folded: Arc<str>,
}

impl EventName {
    /// The name as it was sent.
    pub fn as_str(&self) -> &str {
        &self.sent
    }

    /// The name without its case: what names are compared by.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

impl FromStr for EventName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.trim().is_empty() {
            return Err(InvalidName("the event's name is empty".into()));
        }
        if name.len() > 512 {
            return Err(InvalidName(format!("the event's name has {} bytes; 512 are the most", name.len())));
        }
        if let Some(c) = name.chars().find(|c| c.is_control()) {
            return Err(InvalidName(format!("the event's name has the control character {c:?} in it")));
        }
        let sent: Arc<str> = name.into();
        let lower = fold(name);
        let folded = if lower == name { sent.clone() } else { lower.into() };
        Ok(Self { sent, folded })
    }
}

/// The name without its case, letter by letter, so that neighbours do not count (`to_lowercase` of a whole word knows two
/// kinds of small sigma), and by way of the capital, so that letters with the same capital are one (`ß` and `SS`).
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let small = name.chars().flat_map(char::to_lowercase);
    small.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

impl TryFrom<String> for EventName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<EventName> for String {
    fn from(name: EventName) -> Self {
        name.sent.as_ref().into()
    }
}

impl PartialEq for EventName {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for EventName {}

impl std::hash::Hash for EventName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sent)
    }
}
