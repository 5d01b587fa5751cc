//! Who is granted what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Access, Capabilities, Capability, HttpRule};
use crate::{ActorName, capability::InvalidCapability, manifest::Manifest, problem::Problem};

/// What stands for every actor.
pub(crate) const EVERY: &str = "*";

/// What ends a list of grants that are all an actor is to have, whatever else it asks for.
pub(crate) const NOTHING_ELSE: &str = "nothing else";

/// What one actor, or every actor, is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// What.
    pub capabilities: Capabilities,
    /// Whether that is all it is to have: that it asks for more is known, and no mistake. Events are not granted
    /// by themselves then.
    pub nothing_else: bool,
}

impl Granted {
    /// Reads one item of a list of grants.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(&mut self, text: &str) -> Result<(), InvalidCapability> {
        if text.trim() == NOTHING_ELSE {
            self.nothing_else = true;
            return Ok(());
        }
        self.capabilities.read(text)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.capabilities.is_empty() && !self.nothing_else
    }

    fn add(&mut self, other: &Self) {
        self.capabilities.extend(other.capabilities.iter().cloned());
        self.nothing_else |= other.nothing_else;
    }
}

impl From<Capabilities> for Granted {
    fn from(capabilities: Capabilities) -> Self {
        Self { capabilities, nothing_else: false }
    }
}

/// Its capabilities, for people: `http GET https://api.example.com, secret api_key`.
impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.nothing_else.then(|| NOTHING_ELSE.to_owned());
        let texts: Vec<_> = self.capabilities.iter().map(ToString::to_string).chain(end).collect();
        f.write_str(&if texts.is_empty() { "nothing".into() } else { texts.join(", ") })
    }
}

impl Serialize for Granted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = self.nothing_else.then(|| NOTHING_ELSE.to_owned());
        serializer.collect_seq(self.capabilities.iter().map(ToString::to_string).chain(end))
    }
}

impl<'de> Deserialize<'de> for Granted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut granted = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            granted.read(&text).map_err(serde::de::Error::custom)?;
        }
        Ok(granted)
    }
}

/// Grants by actor, and what is denied whatever is granted. The actor `*` stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// By actor, what it is granted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, Granted>,
    /// By actor, what it is denied.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub deny: BTreeMap<String, Capabilities>,
}

impl Grants {
    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.deny.is_empty()
    }

    /// Both: what either grants is granted, what either denies is denied.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (actor, granted) in &other.grants {
            self.grants.entry(actor.clone()).or_default().add(granted);
        }
        for (actor, denied) in &other.deny {
            self.deny.entry(actor.clone()).or_default().extend(denied.iter().cloned());
        }
        self
    }

    /// What an actor of this manifest has.
    pub fn access(&self, manifest: &Manifest) -> Access {
        let mut granted = Granted::default();
        let mut denied = Capabilities::default();
        for name in [manifest.name.as_str(), EVERY] {
            self.grants.get(name).into_iter().for_each(|of| granted.add(of));
            self.deny.get(name).into_iter().for_each(|of| denied.extend(of.iter().cloned()));
        }
        Access::new(manifest, granted, denied)
    }

    /// The actors that ask for more than they are granted, and how much more.
    pub fn shortfalls<'m>(&self, manifests: impl IntoIterator<Item = &'m Manifest>) -> Vec<Shortfall> {
        let of = |manifest: &Manifest| Shortfall {
            actor: manifest.name.clone(),
            missing: self.access(manifest).missing(),
            unknown: manifest.capabilities.unknown.clone(),
        };
        manifests.into_iter().map(of).filter(|s| !s.missing.is_empty() || !s.unknown.is_empty()).collect()
    }

    /// Grants what is missing, as far as this host knows it.
    pub fn grant(&mut self, shortfalls: &[Shortfall]) {
        for shortfall in shortfalls.iter().filter(|shortfall| !shortfall.missing.is_empty()) {
            let granted = self.grants.entry(shortfall.actor.as_str().into()).or_default();
            granted.capabilities.extend(shortfall.missing.iter().cloned());
        }
    }
}

/// What an actor asks for and was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// Which actor.
    pub actor: ActorName,
    /// What would have to be granted.
    pub missing: Capabilities,
    /// What this host cannot grant, since it does not know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

impl Shortfall {
    /// The line under `grants:` that would grant it; none if it cannot be granted.
    pub fn line(&self) -> Option<String> {
        (!self.missing.is_empty()).then(|| line(&self.actor, self.missing.iter()))
    }

    /// The same as a problem of this file.
    pub fn problem(&self, file: &str) -> Problem {
        let right = match self.line() {
            Some(line) => format!("under `grants:` the line {line}, or `--grant`, would be right"),
            None => "a newer ays-host, or an older version of the actor, would be right".into(),
        };
        Problem::new(file, self.to_string(), right).at(format!("grants.{}", self.actor))
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.missing.iter().map(ToString::to_string).chain(self.unknown.iter().cloned());
        let texts: Vec<_> = texts.map(|text| crate::problem::quote(&text)).collect();
        write!(f, "{} asks for {}, which it is not granted", self.actor, crate::problem::list(texts))?;
        if !self.unknown.is_empty() {
            write!(f, "; this host does not know {}", self.unknown.join(", "))?;
        }
        Ok(())
    }
}

/// A line of YAML under `grants:`.
pub(super) fn line<'c>(actor: &ActorName, capabilities: impl IntoIterator<Item = &'c Capability>) -> String {
    // A JSON text is one of YAML, too.
    let quoted: Vec<_> =
        capabilities.into_iter().map(|c| serde_json::Value::from(c.to_string()).to_string()).collect();
    format!("{actor}: [{}]", quoted.join(", "))
}

/// The part of what is asked for that is not covered. An HTTP rule of several methods is parted by method.
pub(super) fn uncovered(asked: &Capability, granted: &Capabilities) -> Option<Capability> {
    let is_covered = |asked: &Capability| granted.iter().any(|granted| granted.covers(asked));
    if is_covered(asked) {
        return None;
    }
    let Capability::Http(rule) = asked else { return Some(asked.clone()) };
    if rule.methods().is_none() {
        return Some(asked.clone());
    }
    let left = rule.by_method().into_iter().filter(|one| !is_covered(&Capability::Http(one.clone())));
    let methods: BTreeSet<String> = left.flat_map(|one| one.methods().cloned().unwrap_or_default()).collect();
    (!methods.is_empty()).then(|| -> HttpRule { rule.for_methods(methods) }).map(Capability::Http)
}
