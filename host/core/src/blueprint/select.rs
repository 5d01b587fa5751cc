//! Which services an item of a blueprint is about.

use crate::{ServiceKey, schema::Pattern};

/// `actor:` and `service:` of an item. Both must match; what is absent matches any.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Held against the actor's name.
    pub actor: Option<Pattern>,
    /// Held against the instance's name and the whole key; one of them must match.
    pub service: Option<Pattern>,
}

impl Selector {
    /// Whether it takes this service.
    pub fn takes(&self, key: &ServiceKey) -> bool {
        self.actor.as_ref().is_none_or(|actor| actor.matches(key.actor()))
            && self
                .service
                .as_ref()
                .is_none_or(|service| service.matches(key.instance()) || service.matches(key.as_str()))
    }

    /// Whether it says nothing.
    pub fn is_any(&self) -> bool {
        self.actor.is_none() && self.service.is_none()
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        match (&self.actor, &self.service) {
            (None, None) => "no service".into(),
            (Some(actor), None) => format!("no service of an actor `{}`", actor.as_str()),
            (None, Some(service)) => format!("no service `{}`", service.as_str()),
            (Some(actor), Some(service)) => {
                format!("no service `{}` of an actor `{}`", service.as_str(), actor.as_str())
            }
        }
    }
}
