//! Data that were written with one schema, for a version of the actor that has another.

use ays_core::{
    JsonText,
    job::{Failure, FailureKind},
    manifest::Limits,
    schema::SchemaId,
};
use serde_json::Value;

use crate::actors::Loaded;

/// Data in the form that a version of an actor takes.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The data.
    pub data: JsonText,
    /// Members that the version knows nothing of; they are left out.
    pub dropped: Vec<String>,
}

/// Brings data into the form that this version takes, unless they were written with its very schema: by its `migrate`, if
/// they are of an older version of the schema, and by the fields' aliases and defaults.
///
/// # Errors
/// Of the kind `host` if they are of a newer version of the schema; otherwise of that of what went wrong.
pub async fn fit(
    loaded: &Loaded,
    data: &JsonText,
    written_with: Option<&SchemaId>,
    limits: &Limits,
) -> Result<Option<Fitted>, Failure> {
    if written_with == Some(&loaded.schema) {
        return Ok(None);
    }
    let from = written_with.map_or(0, |schema| schema.version);
    let version = loaded.schema.version;
    if from > version {
        let what = format!(
            "the service's data are of version {from} of the schema, which this version of the actor does not know; it \
             knows up to {version}"
        );
        return Err(Failure::new(FailureKind::Host, what));
    }
    let migrated = if from < version && loaded.actor.migrates() {
        loaded.actor.migrate(from, data, limits).await?
    } else {
        data.clone()
    };
    let Value::Object(members) = migrated.value() else {
        return Err(Failure::new(FailureKind::App, "the service's data are no object"));
    };
    let adapted = loaded.actor.manifest().schema.adapt(members).map_err(|wrong| {
        let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        let what = format!("the service's data do not fit the schema: {}", told.join("; "));
        Failure::new(FailureKind::App, Failure::cut(what))
    })?;
    Ok(Some(Fitted { data: JsonText::from(adapted.data), dropped: adapted.dropped }))
}
