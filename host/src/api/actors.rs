//! The actors in service, and new versions of them.

use std::time::Duration;

use axum::{
    Json,
    body::{HttpBody as _, to_bytes},
    extract::{Request, State},
    http::{StatusCode, Uri},
};
use ays_store::{Page, Paging};
use serde_json::{Value, json};

use super::{
    ApiError, Context,
    ask::{Ask, Named},
    lists::Answer,
};
use crate::{
    actors::Loaded,
    upgrade::{Upgraded, UploadError},
};

/// How long a component may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn view(context: &Context, name: &str, loaded: &Loaded) -> Value {
    let actor = &loaded.actor;
    let access = context.granting.access(actor);
    let mut view = json!({
        "name": name,
        "digest": &**actor.digest(),
        "size_bytes": actor.size(),
        "file": loaded.file,
        "manifest": &**actor.manifest(),
        "granted": access.granted(),
        "denied": access.denied_to_it(),
        "missing": access.missing(),
        "quarantined": context.actors.quarantine().held(actor.digest()),
        "limits": context.limits.of(actor.manifest()),
        "refused": context.upgrades.refused(loaded),
    });
    if let (Some(signer), Some(members)) = (&loaded.signer, view.as_object_mut()) {
        members.insert("signed_by".into(), signer.key.to_string().into());
    }
    view
}

pub(super) async fn list(State(context): State<Context>, uri: Uri) -> Answer<Page<Value>> {
    let Paging { limit, cursor } = Ask::read(&uri, &[])?.paging()?;
    let actors = context.actors.now();
    let mut loaded = actors.iter().filter(|(name, _)| cursor.as_deref().is_none_or(|last| *name > last));
    let page: Vec<_> = loaded.by_ref().take(limit).collect();
    let next = page.last().filter(|_| loaded.next().is_some()).map(|(name, _)| (*name).to_owned());
    Ok(Json(Page {
        items: page.into_iter().map(|(name, loaded)| view(&context, name, loaded)).collect(),
        next,
    }))
}

fn not_loaded(name: &str) -> ApiError {
    ApiError::not_found(format!("no actor `{name}` is loaded"))
}

pub(super) async fn show(State(context): State<Context>, Named(name): Named) -> Answer<Value> {
    let actors = context.actors.now();
    let loaded = actors.get(&name).ok_or_else(|| not_loaded(&name))?;
    Ok(Json(view(&context, &name, loaded)))
}

/// Puts a version into service: the body is the component.
pub(super) async fn upload(State(context): State<Context>, request: Request) -> Answer<Upgraded> {
    if !*context.ready.borrow() {
        return Err(ApiError::starting());
    }
    let upgrades = &context.upgrades;
    // Before any of it is read, and one at a time: what comes is held in memory.
    let turn = upgrades
        .accept_upload()
        .await
        .map_err(|why| ApiError::refused(StatusCode::UNPROCESSABLE_ENTITY, why))?;
    let most = upgrades.component_bytes();
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let body = request.into_body();
    let too_large = |why: &dyn std::fmt::Display| {
        let message =
            format!("{why}; a component has at most {most} bytes here, as `serve --component-size` has it");
        ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    // Before any of it is asked for.
    let announced = body.size_hint().lower();
    if announced > most {
        return Err(too_large(&format_args!("the component has {announced} bytes")));
    }
    let body = tokio::time::timeout(PATIENCE, to_bytes(body, limit)).await.map_err(|_| {
        let message = format!("the component has not come within {} s", PATIENCE.as_secs());
        ApiError::refused(StatusCode::REQUEST_TIMEOUT, message)
    })?;
    let body = body.map_err(|error| too_large(&error))?;
    let upgraded = upgrades.upload(turn, body.into()).await.map_err(|error| match error {
        UploadError::Refused(why) => ApiError::refused(StatusCode::UNPROCESSABLE_ENTITY, why),
        UploadError::Conflict(why) => ApiError::conflict(why),
        UploadError::NotKept(why) => {
            let message = format!("{why:#}; nothing was changed");
            ApiError::refused(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
    })?;
    Ok(Json(upgraded))
}

/// Ends an actor's quarantine.
pub(super) async fn release(State(context): State<Context>, Named(name): Named) -> Answer<Value> {
    let actors = context.actors.now();
    let loaded = actors.get(&name).ok_or_else(|| not_loaded(&name))?;
    let digest = loaded.actor.digest();
    let released = context.actors.quarantine().forget(digest);
    if released {
        tracing::info!(actor = name, "the actor {name} is in service again ({digest})");
    }
    Ok(Json(json!({"name": name, "digest": &**digest, "released": released})))
}
