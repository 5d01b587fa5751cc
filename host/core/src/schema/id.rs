//! Which schema data were written with, and data of one schema in the form of another.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Mismatch, Schema};
use crate::partition;

/// Which schema a service's data were written with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaId {
    /// The manifest's `schema_version`; what `migrate` is told.
    #[serde(default)]
    pub version: u32,
    /// Changes with whatever the schema says.
    #[serde(default)]
    pub hash: String,
}

/// Data in the form of a schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapted {
    /// All fields of the schema, and nothing else.
    pub data: Map<String, Value>,
    /// The members that are no fields of the schema, and are left out.
    pub dropped: Vec<String>,
}

impl Schema {
    /// What tells this schema from others, with the manifest's `schema_version`.
    pub fn id(&self, version: u32) -> SchemaId {
        let text = serde_json::to_string(&self.fields).unwrap_or_default();
        SchemaId { version, hash: format!("{:016x}", partition::hash(text.bytes())) }
    }

    /// Brings data that were written with another schema into the form of this one: a field that is missing takes the value
    /// under one of its aliases, or else its default; what is no field any more is left out. As in a blueprint, a value is
    /// changed only where that is plainly meant, as a whole number for a float.
    ///
    /// # Errors
    /// All values that do not fit, and all fields that are missing and have no default.
    pub fn adapt(&self, mut data: Map<String, Value>) -> Result<Adapted, Vec<Mismatch>> {
        let mut values = Map::new();
        let mut wrong = Vec::new();
        for field in self.data_fields() {
            let names = std::iter::once(&field.name).chain(&field.alias);
            let Some(value) = names.filter_map(|name| data.remove(name)).next() else { continue };
            let value = field.coerce(value);
            match field.fit(&value) {
                Ok(()) => drop(values.insert(field.name.clone(), value)),
                Err(mismatch) => wrong.push(mismatch),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let dropped = data.into_iter().map(|(name, _)| name).collect();
        Ok(Adapted { data: self.fill(values)?, dropped })
    }
}
