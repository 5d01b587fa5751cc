//! The HTTP API, version 1: what the command line and everybody else talk to.

mod actors;
mod ask;
mod blueprints;
mod browser;
mod error;
mod events;
mod leftover;
mod listener;
mod lists;
mod metrics;
mod runs;
mod stream;
mod view;
mod webhooks;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use ays_core::manifest::LimitPolicy;
use ays_store::{Store, StoreStatus};
use serde_json::json;
use tokio::sync::watch;

pub use self::{browser::Names, error::ApiError, listener::Bounded, view::JobView};
use crate::{
    actors::{Actors, Loaded},
    applier::Applier,
    clock,
    dispatcher::Cancels,
    door::command_queue,
    granting::Granting,
    hub::Hub,
    live::Live,
    metrics::Metrics,
    upgrade::Upgrades,
};

/// The greatest body of a request, in bytes.
const BODY: usize = 4 << 20;

/// What the API's handlers work with.
#[derive(Clone)]
pub struct Context {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The actors in service.
    pub actors: Live,
    /// New versions of them.
    pub upgrades: Arc<Upgrades>,
    /// Applies blueprints.
    pub applier: Arc<Applier>,
    /// What actors are granted.
    pub granting: Arc<Granting>,
    /// What jobs may use.
    pub limits: LimitPolicy,
    /// What happens.
    pub hub: Hub,
    /// How much of it.
    pub metrics: Metrics,
    /// Where the dispatcher is told of cancelled jobs.
    pub cancels: Cancels,
    /// The namespace that this host serves.
    pub namespace: Arc<str>,
    /// Whether the host has come up.
    pub ready: watch::Receiver<bool>,
    /// How the command queue is doing, if there is one.
    pub queue: Option<command_queue::StatusReader>,
}

/// The API's routes, for those who ask by these names.
pub fn router(context: Context, names: Names) -> Router {
    Router::new()
        .route("/api/v1/events", post(events::accept).get(lists::events))
        .route("/api/v1/events/{id}", get(lists::event))
        .route("/api/v1/actors", get(actors::list).post(actors::upload))
        .route("/api/v1/actors/{name}", get(actors::show))
        .route("/api/v1/actors/{name}/release", post(actors::release))
        .route("/api/v1/services", get(lists::services))
        .route("/api/v1/services/{key}", get(lists::service))
        .route("/api/v1/filters", get(lists::filters))
        .route("/api/v1/filters/{id}", get(lists::filter))
        .route("/api/v1/schedules", get(lists::schedules))
        .route("/api/v1/schedules/{id}", get(lists::schedule))
        .route("/api/v1/jobs", get(lists::jobs))
        .route("/api/v1/jobs/{id}", get(lists::job))
        .route("/api/v1/jobs/{id}/cancel", post(lists::cancel))
        .route("/api/v1/dead", get(lists::dead))
        .route("/api/v1/dead/{id}", get(lists::dead_letter))
        .route("/api/v1/dead/{id}/retry", post(lists::retry_dead))
        .route("/api/v1/dead/{id}/discard", post(lists::discard_dead))
        .route("/api/v1/blueprints", post(blueprints::apply))
        .route("/api/v1/run", post(runs::start))
        .route("/api/v1/runs/{id}", get(runs::show))
        .route("/api/v1/stream", get(stream::stream))
        .route("/webhooks/events", post(webhooks::events))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(|| async {
            ApiError::refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "this takes another method; lists take GET, changes POST",
            )
        })
        .fallback(|| async { ApiError::not_found("there is nothing here; the API begins at /api/v1/") })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(names, browser::guard))
        .layer(middleware::from_fn(leftover::read))
        .with_state(context)
}

/// A request's body, or why there is none in this API's words: axum's own refusals are plain text.
type Body = Result<Bytes, BytesRejection>;

fn body(body: Body) -> Result<Bytes, ApiError> {
    body.map_err(|refused| {
        ApiError::refused(
            refused.status(),
            format!("{}; a body has at most {BODY} bytes", refused.body_text()),
        )
    })
}

/// How long those who ask how things are wait for the store.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

impl Context {
    /// How the store is doing now.
    async fn store_status(&self) -> ays_store::Result<StoreStatus> {
        match self.store.trouble() {
            Some(trouble) => Err(ays_store::Error::Unavailable(trouble)),
            // A server that hangs answers late or never; who asks wants to know now.
            None => tokio::select! {
                status = self.store.status() => status,
                () = clock::sleep(PATIENCE) => Err(ays_store::Error::Unavailable(format!(
                    "it has not answered for {} s",
                    PATIENCE.as_secs()
                ))),
            },
        }
    }

    /// Those of the actors that are quarantined.
    fn quarantined<'a>(&self, actors: &'a Actors) -> impl Iterator<Item = &'a Loaded> {
        let is_held = |loaded: &&Loaded| self.actors.quarantine().held(loaded.actor.digest()).is_some();
        actors.iter().map(|(_, loaded)| loaded).filter(is_held)
    }
}

/// 200 once blueprints are applied and doors are open, and while the store and the command queue can be reached; 503
/// with what is missing otherwise.
async fn ready(State(context): State<Context>) -> (StatusCode, Json<serde_json::Value>) {
    let started = *context.ready.borrow();
    let store = context.store_status().await;
    let queue = context.queue.as_ref().map(command_queue::StatusReader::get);
    let connected = queue.as_ref().is_none_or(|queue| queue.connected);
    let ready = started && store.is_ok() && connected;
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let actors = context.actors.now();
    let quarantined: Vec<_> = context.quarantined(&actors).map(Loaded::name).collect();
    let body = json!({
        "ready": ready,
        "namespace": &*context.namespace,
        "started": started,
        "store": store.as_ref().ok(),
        "store_error": store.as_ref().err().map(ToString::to_string),
        "command_queue": queue,
        "quarantined": quarantined,
        "quarantines": context.actors.quarantine().count(),
    });
    (code, Json(body))
}
