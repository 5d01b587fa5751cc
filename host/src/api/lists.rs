//! Lists, and the things in them.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use ays_core::{EventName, Id, ServiceKey, Timestamp, job::JobState, schedule::Schedule};
use ays_store::{DeadQuery, FilterQuery, JobQuery, Page, Paging, ScheduleQuery, ServiceQuery};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiError, Context, JobView, view::FilterView};
use crate::{actors::Loaded, clock};

type Answer<T> = Result<Json<T>, ApiError>;

/// The most items of a page.
const MOST: usize = 1000;

/// What every list takes: `limit` (100 by default, 1000 at most) and `cursor`, and what some of them take.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ask {
    limit: Option<usize>,
    cursor: Option<String>,
    service: Option<ServiceKey>,
    actor: Option<String>,
    action: Option<String>,
    event: Option<EventName>,
    state: Option<JobState>,
    cause: Option<String>,
    since: Option<Timestamp>,
}

impl Ask {
    fn paging(&self) -> Result<Paging, ApiError> {
        match self.limit {
            Some(limit) if limit == 0 || limit > MOST => {
                Err(ApiError::invalid(format!("`limit` is {limit}; it takes 1 to {MOST}")))
            }
            limit => Ok(Paging { limit: limit.unwrap_or(100), cursor: self.cursor.clone() }),
        }
    }
}

type Asked = Result<Query<Ask>, axum::extract::rejection::QueryRejection>;

fn asked(query: Asked) -> Result<Ask, ApiError> {
    query.map(|Query(ask)| ask).map_err(|e| ApiError::invalid(e.body_text()))
}

fn mapped<A, B>(page: Page<A>, map: impl FnMut(A) -> B) -> Json<Page<B>> {
    Json(Page { items: page.items.into_iter().map(map).collect(), next: page.next })
}

fn id(text: &str) -> Result<Id, ApiError> {
    text.parse()
        .map_err(|_| ApiError::invalid(format!("`{text}` is not an id; an id has 26 letters and digits")))
}

fn key(text: &str) -> Result<ServiceKey, ApiError> {
    text.parse().map_err(|e: ays_core::name::InvalidName| ApiError::invalid(e.to_string()))
}

fn actor_view(name: &str, loaded: &Loaded) -> Value {
    let actor = &loaded.actor;
    json!({
        "name": name,
        "digest": &**actor.digest(),
        "size_bytes": actor.size(),
        "file": loaded.file,
        "manifest": &**actor.manifest(),
    })
}

/// A schedule, with an id of its own: `service/action` with `:` for `/`, so that it fits into a path.
#[derive(Serialize)]
pub(super) struct ScheduleView {
    id: String,
    #[serde(flatten)]
    schedule: Schedule,
}

impl From<Schedule> for ScheduleView {
    fn from(schedule: Schedule) -> Self {
        Self { id: format!("{}:{}", schedule.service, schedule.action), schedule }
    }
}

pub(super) async fn actors(State(context): State<Context>) -> Json<Page<Value>> {
    let items = context.actors.iter().map(|(name, loaded)| actor_view(name, loaded)).collect();
    Json(Page { items, next: None })
}

pub(super) async fn actor(State(context): State<Context>, Path(name): Path<String>) -> Answer<Value> {
    let loaded = context.actors.get(&name);
    let loaded = loaded.ok_or_else(|| ApiError::not_found(format!("no actor `{name}` is loaded")))?;
    Ok(Json(actor_view(&name, loaded)))
}

pub(super) async fn services(
    State(context): State<Context>,
    query: Asked,
) -> Answer<Page<ays_core::service::Service>> {
    let ask = asked(query)?;
    let paging = ask.paging()?;
    Ok(Json(context.store.services(ServiceQuery { actor: ask.actor }, paging).await?))
}

pub(super) async fn service(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Answer<ays_core::service::Service> {
    let service = context.store.service(&key(&name)?).await?;
    service.map(Json).ok_or_else(|| ApiError::not_found(format!("there is no service `{name}`")))
}

pub(super) async fn filters(State(context): State<Context>, query: Asked) -> Answer<Page<FilterView>> {
    let ask = asked(query)?;
    let paging = ask.paging()?;
    let query = FilterQuery { service: ask.service, event: ask.event };
    Ok(mapped(context.store.filters(query, paging).await?, FilterView::from))
}

pub(super) async fn filter(State(context): State<Context>, Path(text): Path<String>) -> Answer<FilterView> {
    let seq: u64 = text
        .parse()
        .map_err(|_| ApiError::invalid(format!("`{text}` is not an event filter's id; it is a number")))?;
    let mut paging = Paging { limit: MOST, cursor: None };
    loop {
        let page = context.store.filters(FilterQuery::default(), paging).await?;
        if let Some(found) = page.items.into_iter().find(|subscription| subscription.seq == seq) {
            return Ok(Json(found.into()));
        }
        paging = match page.next {
            Some(cursor) => Paging { limit: MOST, cursor: Some(cursor) },
            None => return Err(ApiError::not_found(format!("there is no event filter {seq}"))),
        };
    }
}

pub(super) async fn schedules(State(context): State<Context>, query: Asked) -> Answer<Page<ScheduleView>> {
    let ask = asked(query)?;
    let paging = ask.paging()?;
    let query = ScheduleQuery { service: ask.service };
    Ok(mapped(context.store.schedules(query, paging).await?, ScheduleView::from))
}

pub(super) async fn schedule(State(context): State<Context>, Path(id): Path<String>) -> Answer<ScheduleView> {
    let (service, action) = id.split_once([':', '/']).ok_or_else(|| {
        ApiError::invalid(format!("`{id}` is not a schedule's id; it has the form SERVICE:ACTION"))
    })?;
    let query = ScheduleQuery { service: Some(key(service)?) };
    let page = context.store.schedules(query, Paging { limit: MOST, cursor: None }).await?;
    let found = page.items.into_iter().find(|schedule| schedule.action == action);
    found
        .map(|schedule| Json(schedule.into()))
        .ok_or_else(|| ApiError::not_found(format!("`{action}` does not recur on {service}")))
}

pub(super) async fn jobs(
    State(context): State<Context>,
    query: Asked,
) -> Answer<Page<JobView<ays_core::job::Job>>> {
    let ask = asked(query)?;
    let paging = ask.paging()?;
    let Ask { service, actor, action, state, cause, since, .. } = ask;
    let query = JobQuery { service, actor, action, state, cause, since };
    Ok(mapped(context.store.jobs(query, paging).await?, JobView::from))
}

pub(super) async fn job(
    State(context): State<Context>,
    Path(text): Path<String>,
) -> Answer<JobView<ays_core::job::Job>> {
    let job = context.store.job(id(&text)?).await?;
    job.map(|job| Json(job.into())).ok_or_else(|| ApiError::not_found(format!("there is no job {text}")))
}

pub(super) async fn cancel(
    State(context): State<Context>,
    Path(text): Path<String>,
) -> Answer<JobView<ays_core::job::Job>> {
    let job = context.store.cancel(id(&text)?, clock::now()).await?;
    context.cancels.tell(job.id);
    Ok(Json(job.into()))
}

/// How much of a malformed entry a list shows, in bytes.
const PREVIEW: usize = 200;

/// A dead letter. Serialized as it is, not by way of a [`Value`]: the args of its job may be JSON that no `Value` holds.
#[derive(Serialize)]
pub(super) struct DeadView {
    id: Id,
    at: Timestamp,
    reason: String,
    job: Option<JobView<ays_core::job::Job>>,
    entry: Option<Value>,
}

fn dead_view(letter: ays_store::DeadLetter, whole: bool) -> DeadView {
    let entry = letter.entry.map(|entry| {
        let size = entry.raw.len();
        let shown = entry.raw.get(..if whole { size } else { size.min(PREVIEW) }).unwrap_or_default();
        let mut view = json!({"door": entry.door, "size_bytes": size, "raw": String::from_utf8_lossy(shown)});
        if let (true, true, Some(view)) =
            (whole, std::str::from_utf8(&entry.raw).is_err(), view.as_object_mut())
        {
            // What is not text is given byte by byte, too: nothing of it is lost.
            let hex: String = entry.raw.iter().map(|byte| format!("{byte:02x}")).collect();
            view.insert("raw_hex".into(), hex.into());
        }
        view
    });
    let job = letter.job.map(|job| JobView::from(*job));
    DeadView { id: letter.id, at: letter.at, reason: letter.reason, job, entry }
}

pub(super) async fn dead(State(context): State<Context>, query: Asked) -> Answer<Page<DeadView>> {
    let ask = asked(query)?;
    let paging = ask.paging()?;
    let page = context.store.dead(DeadQuery { service: ask.service }, paging).await?;
    Ok(mapped(page, |letter| dead_view(letter, false)))
}

pub(super) async fn dead_letter(
    State(context): State<Context>,
    Path(text): Path<String>,
) -> Answer<DeadView> {
    let letter = context.store.dead_letter(id(&text)?).await?;
    let letter = letter.ok_or_else(|| ApiError::not_found(format!("there is no dead letter {text}")))?;
    Ok(Json(dead_view(letter, true)))
}

pub(super) async fn retry_dead(
    State(context): State<Context>,
    Path(text): Path<String>,
) -> Answer<JobView<ays_core::job::Job>> {
    Ok(Json(context.store.retry_dead(id(&text)?, clock::now()).await?.into()))
}

pub(super) async fn discard_dead(
    State(context): State<Context>,
    Path(text): Path<String>,
) -> Answer<DeadView> {
    let letter = context.store.discard_dead(id(&text)?, clock::now()).await?;
    Ok(Json(dead_view(letter, true)))
}

pub(super) async fn events(
    State(context): State<Context>,
    query: Asked,
) -> Answer<Page<ays_core::event::EventRecord>> {
    let paging = asked(query)?.paging()?;
    Ok(Json(context.store.unmatched(paging).await?))
}
