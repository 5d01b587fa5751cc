//! `POST /api/v1/blueprints`.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, Body, Context, body};
use ays_core::{blueprint::Step, capability::Shortfall, problem::Problem};

use crate::{
    apply::{self, Source},
    granting,
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
    let Context { store, granting, .. } = &context;
    let actors = &*context.actors.now();
    let refuse = |problems: Vec<Problem>| {
        let what =
            format!("{} in the blueprints; nothing was changed", apply::count(problems.len(), "problem"));
        ApiError::problems(what, json!(problems))
    };
    let plan = apply::plan(&sources, store.as_ref(), actors, granting).await?.map_err(refuse)?;
    let shortfalls = granting.shortfalls(&plan, granting::manifests(&plan.actors, actors));
    if !shortfalls.is_empty() && !options.grant {
        return Err(refuse(granting::problems(&shortfalls, &sources)));
    }
    let mut steps = plan.steps.clone();
    let granted = |shortfall: &Shortfall| Step::Grant {
        actor: shortfall.actor.to_string(),
        granted: shortfall.missing.clone().into(),
    };
    steps.extend(shortfalls.iter().filter(|shortfall| !shortfall.missing.is_empty()).map(granted));
    let steps = json!(steps);
    if options.dry_run {
        return Ok(Json(json!({"applied": false, "steps": steps})));
    }
    granting.grant(&plan, &shortfalls, store.as_ref()).await?;
    let applied = apply::apply(plan, store.as_ref()).await?;
    Ok(Json(json!({"applied": true, "steps": steps, "jobs": applied.jobs, "runs": applied.runs})))
}
