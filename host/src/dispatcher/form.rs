//! A service's data in the form in which a job is to find them.

use ays_core::{
    JsonText,
    job::{Failure, FailureKind, Patch},
    manifest::Limits,
    schema::SchemaId,
};
use serde_json::Value;
use tracing::warn;

use super::attempt::Data;
use crate::{
    actors::Loaded,
    upgrade::{Fitted, fit},
};

/// What of the data is another than what is kept.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The data, if they change.
    pub(super) data: Option<JsonText>,
    /// The schema that they are of then, if that changes.
    pub(super) schema: Option<SchemaId>,
}

/// The form of `data` for a job of this version, which changes them by `patch`.
///
/// # Errors
/// Of the kind `host` if the data are of a newer version of the schema; otherwise of that of what went wrong.
pub(super) async fn of(
    loaded: &Loaded,
    data: &Data,
    patch: Option<&Patch>,
    limits: &Limits,
) -> Result<Form, Failure> {
    let before = data.schema.as_ref();
    let Some(patch) = patch else { return fitted(loaded, &data.json, before, limits).await };
    // Values that were read by the schema of which the data still are become new ones together with them.
    let is_of_data = patch.schema.is_none() || patch.schema.as_ref() == before;
    let (whole, schema) = if is_of_data {
        let whole = patch_object(&data.json, &patch.values);
        let form = fitted(loaded, &whole, before, limits).await?;
        (form.data.unwrap_or(whole), form.schema)
    } else {
        let form = fitted(loaded, &data.json, before, limits).await?;
        (patch_object(form.data.as_ref().unwrap_or(&data.json), &patch.values), form.schema)
    };
    loaded.actor.manifest().schema.check(&whole.value()).map_err(|why| {
        let what = format!(
            "the blueprint's values were read with another version of the schema, and do not fit this one's: {why}; apply \
             the blueprint again"
        );
        Failure::new(FailureKind::App, what).for_good()
    })?;
    Ok(Form { data: Some(whole), schema })
}

async fn fitted(
    loaded: &Loaded,
    data: &JsonText,
    before: Option<&SchemaId>,
    limits: &Limits,
) -> Result<Form, Failure> {
    let Some(Fitted { data, dropped }) = fit(loaded, data, before, limits).await? else {
        return Ok(Form::default());
    };
    if !dropped.is_empty() {
        let (name, fields) = (loaded.name(), dropped.join(", "));
        warn!(
            actor = name,
            "a service's data had members that {name} does not know, and has no longer: {fields}"
        );
    }
    Ok(Form { data: Some(data), schema: Some(loaded.schema.clone()) })
}

/// The object with the members of `patch` put in place.
fn patch_object(object: &JsonText, patch: &JsonText) -> JsonText {
    match (object.value(), patch.value()) {
        (Value::Object(mut object), Value::Object(patch)) => {
            object.extend(patch);
            object.into()
        }
        (_, patch) => JsonText::from(&patch),
    }
}
