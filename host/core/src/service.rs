//! Services: instances of actors with data of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Id, JsonText, ServiceKey, Timestamp, job::JobState, kv, schema::SchemaId};

/// A service and its whole record. Its JSON is what the API shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Its key, `actor__instance`.
    pub key: ServiceKey,
    /// Its data: an object with one member for each field of the schema.
    pub data: JsonText,
    /// The schema that its data were written with. None, if they were written before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaId>,
    /// What the blueprint said last: an object with the fields it named. A field is changed by a blueprint only when the
    /// blueprint's own value has changed, so applying it again leaves alone what actions did meanwhile.
    pub applied: JsonText,
    /// The services it is linked to.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub links: Links,
    /// How its life-cycle actions (`init`, `install`, …) last ended. Event handlers and occurrences are not kept here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<String, ActionStatus>,
    /// How many key-value pairs it has.
    #[serde(default, skip_serializing_if = "kv::Usage::is_empty")]
    pub kv: kv::Usage,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its data was last changed.
    pub updated_at: Timestamp,
}

impl Service {
    /// Whether this action last ended well.
    pub fn done(&self, action: &str) -> bool {
        self.actions.get(action).is_some_and(|status| status.state == JobState::Ok)
    }
}

/// The services that a service is linked to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// The one named by its `parent:` field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ServiceKey>,
    /// Those named by its `consume:` fields, by role, in the order of the blueprint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub producers: BTreeMap<String, Vec<ServiceKey>>,
}

impl Links {
    /// Whether it is linked to none.
    pub fn is_empty(&self) -> bool {
        self.parent.is_none() && self.producers.is_empty()
    }
}

/// How an action last ended on a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionStatus {
    /// `ok`, `retrying`, `error` or `cancelled`.
    pub state: JobState,
    /// By which job.
    pub job: Id,
    /// When.
    pub at: Timestamp,
}
