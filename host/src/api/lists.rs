//! Lists, and the things in them.

use axum::{Json, extract::State, http::Uri};
use ays_core::{Id, ServiceKey, Timestamp, manifest::STANDARD_ACTIONS, schedule::Schedule};
use ays_store::{DeadQuery, FilterQuery, JobQuery, Page, Paging, ScheduleQuery, ServiceQuery};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    ApiError, Context, JobView,
    ask::{Ask, MOST, Named},
    view::FilterView,
};
use crate::clock;

pub(super) type Answer<T> = Result<Json<T>, ApiError>;

/// A page, or why there is none. The one thing that a list does not find is a cursor that is none.
fn listed<T>(page: ays_store::Result<Page<T>>) -> Result<Page<T>, ApiError> {
    page.map_err(|error| match error {
        ays_store::Error::NotFound(what) => ApiError::invalid(what),
        other => other.into(),
    })
}

/// Looks through a whole list for one thing.
async fn find<T, F>(
    mut page: impl FnMut(Paging) -> F,
    is_wanted: impl Fn(&T) -> bool,
) -> Result<Option<T>, ApiError>
where
    F: Future<Output = ays_store::Result<Page<T>>>,
{
    let mut cursor = None;
    loop {
        let Page { items, next } = page(Paging { limit: MOST, cursor }).await?;
        if let Some(found) = items.into_iter().find(&is_wanted) {
            return Ok(Some(found));
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(None);
        }
    }
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

pub(super) async fn services(
    State(context): State<Context>,
    uri: Uri,
) -> Answer<Page<ays_core::service::Service>> {
    let ask = Ask::read(&uri, &["actor"])?;
    let paging = ask.paging()?;
    Ok(Json(listed(context.store.services(ServiceQuery { actor: ask.actor }, paging).await)?))
}

pub(super) async fn service(
    State(context): State<Context>,
    Named(name): Named,
) -> Answer<ays_core::service::Service> {
    let service = context.store.service(&key(&name)?).await?;
    service.map(Json).ok_or_else(|| ApiError::not_found(format!("there is no service `{name}`")))
}

pub(super) async fn filters(State(context): State<Context>, uri: Uri) -> Answer<Page<FilterView>> {
    let ask = Ask::read(&uri, &["service", "event"])?;
    let paging = ask.paging()?;
    let query = FilterQuery { service: ask.service, event: ask.event };
    Ok(mapped(listed(context.store.filters(query, paging).await)?, FilterView::from))
}

pub(super) async fn filter(State(context): State<Context>, Named(text): Named) -> Answer<FilterView> {
    let seq: u64 = text
        .parse()
        .map_err(|_| ApiError::invalid(format!("`{text}` is not an event filter's id; it is a number")))?;
    let page = |paging| context.store.filters(FilterQuery::default(), paging);
    let found = find(page, |subscription| subscription.seq == seq).await?;
    found
        .map(|subscription| Json(subscription.into()))
        .ok_or_else(|| ApiError::not_found(format!("there is no event filter {seq}")))
}

pub(super) async fn schedules(State(context): State<Context>, uri: Uri) -> Answer<Page<ScheduleView>> {
    let ask = Ask::read(&uri, &["service"])?;
    let paging = ask.paging()?;
    let query = ScheduleQuery { service: ask.service };
    Ok(mapped(listed(context.store.schedules(query, paging).await)?, ScheduleView::from))
}

pub(super) async fn schedule(State(context): State<Context>, Named(id): Named) -> Answer<ScheduleView> {
    let (service, action) = id.split_once([':', '/']).ok_or_else(|| {
        ApiError::invalid(format!("`{id}` is not a schedule's id; it has the form SERVICE:ACTION"))
    })?;
    let query = ScheduleQuery { service: Some(key(service)?) };
    let page = |paging| context.store.schedules(query.clone(), paging);
    let found = find(page, |schedule| schedule.action == action).await?;
    found
        .map(|schedule| Json(schedule.into()))
        .ok_or_else(|| ApiError::not_found(format!("`{action}` does not recur on {service}")))
}

pub(super) async fn jobs(
    State(context): State<Context>,
    uri: Uri,
) -> Answer<Page<JobView<ays_core::job::Job>>> {
    let ask = Ask::read(&uri, &["service", "actor", "action", "state", "cause", "since"])?;
    let paging = ask.paging()?;
    let since = ask.since()?;
    let Ask { service, actor, action, state, cause, .. } = ask;
    let query = JobQuery { service, actor, action, state, cause, since };
    Ok(mapped(listed(context.store.jobs(query, paging).await)?, JobView::from))
}

pub(super) async fn job(
    State(context): State<Context>,
    Named(text): Named,
) -> Answer<JobView<ays_core::job::Job>> {
    let job = context.store.job(id(&text)?).await?;
    job.map(|job| Json(job.into())).ok_or_else(|| ApiError::not_found(format!("there is no job {text}")))
}

pub(super) async fn cancel(
    State(context): State<Context>,
    Named(text): Named,
) -> Answer<JobView<ays_core::job::Job>> {
    let job = context.store.cancel(id(&text)?, clock::now()).await?;
    context.cancels.tell(job.id);
    let actors = context.actors.now();
    let declared = actors.get(job.service.actor()).is_some_and(|loaded| loaded.actions.contains(&job.action));
    context.metrics.cancelled(&job, declared || STANDARD_ACTIONS.contains(&job.action.as_str()));
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

pub(super) async fn dead(State(context): State<Context>, uri: Uri) -> Answer<Page<DeadView>> {
    let ask = Ask::read(&uri, &["service"])?;
    let paging = ask.paging()?;
    let page = listed(context.store.dead(DeadQuery { service: ask.service }, paging).await)?;
    Ok(mapped(page, |letter| dead_view(letter, false)))
}

pub(super) async fn dead_letter(State(context): State<Context>, Named(text): Named) -> Answer<DeadView> {
    let letter = context.store.dead_letter(id(&text)?).await?;
    let letter = letter.ok_or_else(|| ApiError::not_found(format!("there is no dead letter {text}")))?;
    Ok(Json(dead_view(letter, true)))
}

pub(super) async fn retry_dead(
    State(context): State<Context>,
    Named(text): Named,
) -> Answer<JobView<ays_core::job::Job>> {
    Ok(Json(context.store.retry_dead(id(&text)?, clock::now()).await?.into()))
}

pub(super) async fn discard_dead(State(context): State<Context>, Named(text): Named) -> Answer<DeadView> {
    let letter = context.store.discard_dead(id(&text)?, clock::now()).await?;
    Ok(Json(dead_view(letter, true)))
}

pub(super) async fn events(
    State(context): State<Context>,
    uri: Uri,
) -> Answer<Page<ays_core::event::EventRecord>> {
    let paging = Ask::read(&uri, &[])?.paging()?;
    Ok(Json(listed(context.store.unmatched(paging).await)?))
}

pub(super) async fn event(
    State(context): State<Context>,
    Named(text): Named,
) -> Answer<ays_core::event::EventRecord> {
    let id = id(&text)?;
    // The list goes from the youngest to the oldest, and a page begins below its cursor.
    let above = Id::from_bytes(u128::from_be_bytes(id.to_bytes()).saturating_add(1).to_be_bytes());
    let page = context.store.unmatched(Paging { limit: 1, cursor: Some(above.to_string()) }).await?;
    let found = page.items.into_iter().find(|event| event.id == id);
    found.map(Json).ok_or_else(|| {
        let message = format!(
            "there is no event {text} that no event filter took; of those that were taken, there are the jobs"
        );
        ApiError::not_found(message)
    })
}
