//! `POST /api/v1/blueprints`.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, Body, Context, body};
use crate::{
    applier::{Done, Needing, NotApplied},
    apply::{self, Source},
};

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
    /// Whether actors are granted what they ask for.
    #[serde(default)]
    grant: bool,
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
    let Context { applier, .. } = context;
    let actors = context.actors.now();
    if options.dry_run {
        let prepared = applier.prepare(&sources, &actors, Needing::Named, options.grant).await?;
        return Ok(Json(json!({"applied": false, "steps": prepared.steps()})));
    }
    // To its end, also when the one who asked does not wait for it.
    let applying = tokio::spawn(async move {
        let done = applier.apply(&sources, &actors, Needing::Named, options.grant).await?;
        applier.until_set_up(&done).await?;
        Ok::<_, NotApplied>(done)
    });
    let Done { steps, applied, .. } = applying.await.map_err(|died| ApiError::died(&died))??;
    Ok(Json(json!({"applied": true, "steps": steps, "jobs": applied.jobs, "runs": applied.runs})))
}

impl From<NotApplied> for ApiError {
    fn from(refused: NotApplied) -> Self {
        match refused {
            NotApplied::Store(error) => error.into(),
            NotApplied::Faults(problems) | NotApplied::Grants(problems) => {
                let number = apply::count(problems.len(), "problem");
                Self::problems(format!("{number} in the blueprints; nothing was changed"), json!(problems))
            }
        }
    }
}
