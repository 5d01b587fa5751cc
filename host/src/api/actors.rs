//! The actors in service, and new versions of them.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
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

/// The greatest component, in bytes.
pub(super) const COMPONENT: usize = 256 << 20;

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
pub(super) async fn upload(
    State(context): State<Context>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Upgraded> {
    let body = body.map_err(|refused| {
        let message = format!("{}; a component has at most {COMPONENT} bytes", refused.body_text());
        ApiError::refused(refused.status(), message)
    })?;
    if !*context.ready.borrow() {
        return Err(ApiError::starting());
    }
    let upgraded = context.upgrades.upload(Arc::from(&*body)).await.map_err(|error| match error {
        UploadError::Refused(why) => ApiError::refused(StatusCode::UNPROCESSABLE_ENTITY, why),
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
