//! Names with an optional `*` at their end.

use std::{fmt, str::FromStr};

use crate::EventName;

/// A name, or the beginning of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pattern {
    /// What is compared.
    text: String,
    /// Whether anything may follow.
    open: bool,
}

impl Pattern {
    fn takes(&self, name: &str) -> bool {
        if self.open { name.starts_with(&self.text) } else { name == self.text }
    }

    fn covers(&self, other: &Self) -> bool {
        if self.open { other.text.starts_with(&self.text) } else { self == other }
    }
}

/// Which events: a name, or with `*` at its end all that begin so. Case does not count.
#[derive(Clone, Debug)]
pub struct EventPattern {
    written: String,
    folded: Pattern,
}

impl EventPattern {
    /// Any event.
    pub fn any() -> Self {
        Self { written: "*".into(), folded: Pattern { text: String::new(), open: true } }
    }

    /// This event alone.
    pub fn exactly(event: &EventName) -> Self {
        let folded = Pattern { text: event.folded().into(), open: false };
        Self { written: event.as_str().into(), folded }
    }

    /// Whether it takes this event.
    pub fn takes(&self, event: &EventName) -> bool {
        self.folded.takes(event.folded())
    }

    /// Whether it takes whatever the other one takes.
    pub fn covers(&self, other: &Self) -> bool {
        self.folded.covers(&other.folded)
    }
}

impl FromStr for EventPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::any());
        }
        let open = text.ends_with('*');
        let name = text.strip_suffix('*').unwrap_or(text);
        if name.is_empty() {
            return Err("names no event; `order_placed`, `order_*` or `*` would be right".into());
        }
        if name.contains('*') {
            return Err("has a `*` that is not at its end; `order_*` or `*` would be right".into());
        }
        let name: EventName = name.parse().map_err(|e: crate::name::InvalidName| e.to_string())?;
        Ok(Self { written: text.into(), folded: Pattern { text: name.folded().into(), open } })
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl PartialEq for EventPattern {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for EventPattern {}

impl std::hash::Hash for EventPattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

/// Which secrets: a name, or with `*` at its end all that begin so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretPattern(Pattern);

impl SecretPattern {
    /// Whether it takes this secret.
    pub fn takes(&self, name: &str) -> bool {
        self.0.takes(name)
    }

    /// Whether it takes whatever the other one takes.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.covers(&other.0)
    }

    /// The same, where neither case counts, nor which of `-`, `_` and `.` it is.
    pub fn covers_folded(&self, other: &Self) -> bool {
        let folded = |pattern: &Pattern| Pattern {
            text: pattern.text.to_ascii_uppercase().replace(['-', '.'], "_"),
            open: pattern.open,
        };
        folded(&self.0).covers(&folded(&other.0))
    }
}

impl FromStr for SecretPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let open = text.ends_with('*');
        let name = text.strip_suffix('*').unwrap_or(text);
        if !(open && name.is_empty()) {
            check_secret_name(name)?;
        }
        Ok(Self(Pattern { text: name.into(), open }))
    }
}

impl fmt::Display for SecretPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.text, if self.0.open { "*" } else { "" })
    }
}

/// Checks the name of a secret: 1 to 128 letters, digits, `-`, `_` and `.`, the first one not a `.`. So it can name a file
/// of a folder and none elsewhere.
///
/// # Errors
/// Says what is wrong and what would be right.
pub fn check_secret_name(name: &str) -> Result<(), String> {
    let fits = (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits {
        Ok(())
    } else {
        Err("names no secret: 1 to 128 letters, digits, `-`, `_` and `.`, not beginning with `.`, would be right"
            .into())
    }
}
