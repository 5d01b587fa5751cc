//! The fields of a service's data. Filled in with `hrd`.

use serde::{Deserialize, Serialize};
/// Fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    /// In order.
    pub fields: Vec<serde_json::Value>,
}
