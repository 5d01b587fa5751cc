//! What of the blueprints could not be read, so that one mistake is not told of again as what follows from it.

use std::collections::BTreeSet;

use crate::ServiceKey;

/// The faulty parts of blueprints: nothing is said about what depends on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// Services of which not even the fields could be read.
    pub(super) services: BTreeSet<ServiceKey>,
    /// Fields whose values could not be read.
    pub(super) fields: BTreeSet<(ServiceKey, String)>,
    /// Names of what may have been meant to be services.
    pub(super) names: BTreeSet<String>,
    /// Whether there may be further services: a file could not be read.
    pub(super) more: bool,
}

impl Faults {
    /// Whether all services that the blueprints name are known.
    pub(super) fn knows_all(&self) -> bool {
        self.names.is_empty() && !self.more
    }

    /// Whether a service of this name, a key or an instance, may have been meant by what could not be read.
    pub(super) fn may_have(&self, name: &str) -> bool {
        self.more || self.names.iter().any(|faulty| faulty.ends_with(name))
    }

    /// Adds those of another file.
    pub(super) fn add(&mut self, other: &Self) {
        self.services.extend(other.services.iter().cloned());
        self.fields.extend(other.fields.iter().cloned());
        self.names.extend(other.names.iter().cloned());
        self.more |= other.more;
    }
}
