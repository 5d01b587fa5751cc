//! `POST /api/v1/blueprints`.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, Body, Context, body};
use crate::apply::{self, Source};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    blueprints: Vec<Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    #[serde(default)]
    dry_run: bool,
}

/// Takes `{"blueprints": [{"name", "text"}]}`, or one blueprint as YAML. Answers with the plan that was, or with
/// `dry_run` would be, applied.
pub(super) async fn apply(
    State(context): State<Context>,
    options: Result<Query<Options>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let body = self::body(body)?;
    let Query(options) = options.map_err(|e| ApiError::invalid(e.body_text()))?;
    let is_json =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let sources = if is_json {
        let request: Request = serde_json::from_slice(&body).map_err(|e| {
            ApiError::invalid(format!("{e}; it takes {{\"blueprints\": [{{\"name\", \"text\"}}]}}"))
        })?;
        request.blueprints
    } else {
        let text = String::from_utf8(body.to_vec())
            .map_err(|e| ApiError::invalid(format!("the blueprint is not UTF-8: {e}")))?;
        vec![Source { name: "blueprint".into(), text }]
    };
    let plan = apply::plan(&sources, context.store.as_ref(), &context.actors).await?.map_err(|problems| {
        let what =
            format!("{} in the blueprints; nothing was changed", apply::count(problems.len(), "problem"));
        ApiError::problems(what, json!(problems))
    })?;
    let steps = json!(plan.steps);
    if options.dry_run {
        return Ok(Json(json!({"applied": false, "steps": steps})));
    }
    let applied = apply::apply(plan, context.store.as_ref()).await?;
    Ok(Json(json!({"applied": true, "steps": steps, "jobs": applied.jobs, "runs": applied.runs})))
}
