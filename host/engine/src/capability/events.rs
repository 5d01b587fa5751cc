//! `interface events`.

use ays_core::{
    EventName,
    event::{Channel, NewEvent},
    filter::{EventFilter, FILTER_BYTES},
    limits::beyond,
    turn::Effect,
};

use super::{json, without_secrets};
use crate::{
    bindings::ays::actor::{
        events::{Filter, Host},
        types::Error,
    },
    breach::Breach,
    state::{Call, State},
};

impl Host for State {
    fn emit(&mut self, event: String, args: String) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        call.events += 1;
        if call.events > call.limits.events {
            return Err(Breach::of(
                "events",
                format_args!("emitted {} events", call.events),
                call.limits.events,
            ));
        }
        match read_event(call, &event, &args) {
            Ok(event) => {
                let texts = event.name.as_str().len() + args.len();
                call.push(Effect::Emit(event), texts).map(Ok)
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn set_filter(&mut self, filter: Filter, secret: Option<String>) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        call.changes()?;
        let texts = length(&filter) + secret.as_ref().map_or(0, String::len);
        let read = read(call, filter).and_then(|filter| {
            call.access.listen(&filter.event).map_err(|denied| Error::Denied(call.denials.add(&denied)))?;
            Ok(filter)
        });
        match read.and_then(|filter| fits(call, &filter, texts).map(|()| filter)) {
            Ok(filter) => {
                call.filters.insert(&filter);
                call.push(Effect::SetFilter(EventFilter { secret, ..filter }), texts).map(Ok)
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn remove_filter(&mut self, filter: Filter) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        call.changes()?;
        let texts = length(&filter);
        match read(call, filter) {
            Ok(filter) => {
                call.filters.remove(&filter);
                call.push(Effect::RemoveFilter(filter), texts).map(Ok)
            }
            Err(refused) => Ok(Err(refused)),
        }
    }
}

fn read_event(call: &Call, event: &str, args: &str) -> Result<NewEvent, Error> {
    let name = event_name(event)?;
    without_secrets(call, "event's name", event)?;
    call.access.emit(&name).map_err(|denied| Error::Denied(call.denials.add(&denied)))?;
    let args = json(call, "event's args", args)?;
    Ok(NewEvent { channel: Channel("service".into()), depth: call.depth, ..NewEvent::new(name, args) })
}

/// Whether the service may have this filter beside those it has. One that it has may be set whatever the limit.
fn fits(call: &Call, filter: &EventFilter, texts: usize) -> Result<(), Error> {
    if texts > FILTER_BYTES {
        return Err(Error::Limit(format!(
            "the event filter on `{:.80}` has {texts} bytes of text; {FILTER_BYTES} are the most",
            filter.event
        )));
    }
    let (most, before) = (call.limits.filters, call.filters.len());
    if before < most || call.filters.contains(filter) {
        return Ok(());
    }
    let what = format_args!("the service would have {} event filters", before + 1);
    Err(Error::Limit(beyond("filters", what, most)))
}

/// The length of all of a filter's texts.
fn length(filter: &Filter) -> usize {
    // A tag takes room even if it is empty.
    let tags: usize = filter.tags.iter().map(|tag| tag.len() + size_of::<String>()).sum();
    filter.event.len() + filter.action.len() + filter.channel.len() + tags
}

fn event_name(name: &str) -> Result<EventName, Error> {
    name.parse().map_err(|e: ays_core::name::InvalidName| Error::Invalid(e.to_string()))
}

fn read(call: &Call, filter: Filter) -> Result<EventFilter, Error> {
    if call.manifest.action(&filter.action).is_none() {
        return Err(Error::Invalid(format!(
            "event filter on `{}`: {} has no action `{}`; it has {}",
            filter.event,
            call.manifest.name,
            filter.action,
            call.manifest.action_names()
        )));
    }
    for text in [&filter.event, &filter.channel].into_iter().chain(&filter.tags) {
        without_secrets(call, "event filter", text)?;
    }
    Ok(EventFilter {
        channel: Channel(filter.channel),
        tags: filter.tags.into_iter().collect(),
        ..EventFilter::new(event_name(&filter.event)?, filter.action)
    })
}
