//! Reads blueprint files.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    ActionItem, Block, Blueprint, FilterItem, Pin, Selector, faults::Faults, grants, lines::Part, yaml,
};
use crate::{
    ActorName, Digest, EventName, ServiceKey,
    event::Channel,
    problem::{MOST_PROBLEMS, Problem, nearest, quote, report},
    schedule::Period,
    schema::{Pattern, describe},
};

/// Reads a blueprint. `file` is its name, for messages. A file without any content is a blueprint that says nothing.
///
/// # Errors
/// All mistakes in it that can be seen without knowing the actors.
pub fn read(file: &str, text: &str) -> Result<Blueprint, Vec<Problem>> {
    let (blueprint, problems) = read_what_can_be(file, text);
    if problems.is_empty() { Ok(blueprint) } else { Err(problems) }
}

/// The same, with what could be read of a file that has mistakes.
pub(super) fn read_what_can_be(file: &str, text: &str) -> (Blueprint, Vec<Problem>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut blueprint =
        Blueprint { file: file.into(), blocks: Vec::new(), text: text.into(), faults: Faults::default() };
    let document = match yaml::read(file, text) {
        Ok(document) => document,
        Err(problem) => {
            blueprint.faults.more = true;
            return (blueprint, vec![problem]);
        }
    };
    let mut problems: Vec<Problem> = document
        .problems
        .iter()
        .take(MOST_PROBLEMS)
        .map(|fault| {
            let problem = blueprint.problem(&yaml::parts(&fault.place), &fault.what, &fault.right);
            let line = fault.line(text).max(problem.line);
            problem.on_line(line)
        })
        .collect();
    let mut reader = Reader { blueprint: &blueprint, problems: Vec::new(), faults: Faults::default() };
    document.problems.iter().for_each(|fault| reader.faulty(&fault.place));
    let mut blocks = Vec::new();
    // Keys at the top that are no texts were reported by where they stand.
    let reported = document.problems.iter().any(|fault| fault.place.is_empty());
    for (name, value) in document.members {
        blocks.extend(reader.block(&name, value, reported));
        if reader.problems.len() >= MOST_PROBLEMS {
            reader.faults.more = true;
            break;
        }
    }
    let Reader { problems: further, faults, .. } = reader;
    problems.extend(further);
    problems.sort_by_key(|problem| problem.line);
    problems.truncate(MOST_PROBLEMS);
    (Blueprint { blocks, faults, ..blueprint }, problems)
}

struct Reader<'a> {
    blueprint: &'a Blueprint,
    problems: Vec<Problem>,
    faults: Faults,
}

/// What may stand at the top beside services, and what people write for it.
const BLOCKS: [(&str, &str); 13] = [
    ("actions", "actions"),
    ("eventfilters", "eventfilters"),
    ("grants", "grants"),
    ("grant", "grants"),
    ("capabilities", "grants"),
    ("action", "actions"),
    ("eventfilter", "eventfilters"),
    ("event_filters", "eventfilters"),
    ("event-filters", "eventfilters"),
    ("events", "eventfilters"),
    ("filters", "eventfilters"),
    ("actors", "actors"),
    ("actor", "actors"),
];

/// What people write first in an item of this block.
fn first_member(block: &str) -> &'static str {
    if block == "actors" { "name" } else { "action" }
}

impl Reader<'_> {
    fn report(&mut self, path: &[Part<'_>], what: impl Into<String>, right: impl Into<String>) {
        report(&mut self.problems, || self.blueprint.problem(path, what, right));
    }

    /// Something at this place was not read as it stands there.
    fn faulty(&mut self, place: &[yaml::Segment]) {
        let service = |name: &String| name.parse::<ServiceKey>().ok();
        match place {
            [yaml::Segment::Key(name), yaml::Segment::Key(field), ..] => {
                self.faults.fields.extend(service(name).map(|key| (key, field.clone())));
            }
            [yaml::Segment::Key(name)] => self.faults.services.extend(service(name)),
            _ => {}
        }
    }

    /// `reported`: whether keys that are no texts were reported already, so that their stand-ins are left alone.
    fn block(&mut self, name: &str, value: Value, reported: bool) -> Option<Block> {
        let path = [Part::Key(name)];
        match name {
            "actors" => Some(Block::Actors(self.items(name, value, Self::pin))),
            "actions" => Some(Block::Actions(self.items(name, value, Self::action_item))),
            "eventfilters" => Some(Block::Filters(self.items(name, value, Self::filter_item))),
            "grants" => {
                Some(Block::Grants(grants::by_actor(self.blueprint, name, value, &mut self.problems)))
            }
            "deny" => {
                let right = "it belongs into the host's grants file (`serve --grants FILE`), which no blueprint overrides";
                self.report(&path, "is no block of a blueprint", right);
                None
            }
            _ if name.contains("__") => {
                let key = match name.parse::<ServiceKey>() {
                    Ok(key) => key,
                    Err(error) => {
                        self.report(&path, error.to_string(), "`actor__instance:` would be right");
                        self.faults.names.insert(name.into());
                        return None;
                    }
                };
                let given = match value {
                    Value::Null => Map::new(),
                    Value::Object(given) => given,
                    other => {
                        let right = "nothing, or a mapping of its fields (`field: value`), would be right";
                        self.report(&path, describe(&other), right);
                        self.faults.services.insert(key.clone());
                        Map::new()
                    }
                };
                Some(Block::Service { key, given })
            }
            _ if reported
                && (name == "?"
                    || name == "null"
                    || name.parse::<f64>().is_ok()
                    || name == "true"
                    || name == "false") =>
            {
                None
            }
            _ => {
                let known = BLOCKS.iter().map(|(name, _)| *name);
                let meant =
                    nearest(name, known).and_then(|near| BLOCKS.iter().find(|(name, _)| *name == near));
                if meant.is_none() && (name.contains('_') || value.is_null() || value.is_object()) {
                    self.faults.names.insert(name.into());
                }
                let right = match meant {
                    Some((_, meant)) => format!("did you mean `{meant}:`?"),
                    None if name.contains('_') => {
                        format!(
                            "`{}:`, with two underscores between actor and instance, would be right",
                            name.replacen('_', "__", 1)
                        )
                    }
                    None => "`actor__instance:` for a service, `actions:`, `eventfilters:`, `grants:` or `actors:` would be right"
                        .into(),
                };
                self.report(&path, "is neither a service nor a known block", right);
                None
            }
        }
    }

    fn items<T>(
        &mut self,
        name: &str,
        value: Value,
        read: impl Fn(&mut Self, Members<'_>) -> Option<T>,
    ) -> Vec<T> {
        let items = match value {
            Value::Null => return Vec::new(),
            Value::Array(items) => items,
            other => {
                let right =
                    format!("a list, each item with a dash (`- {}: …`), would be right", first_member(name));
                self.report(&[Part::Key(name)], describe(&other), right);
                return Vec::new();
            }
        };
        let mut read_items = Vec::new();
        for (nth, item) in items.into_iter().enumerate() {
            match item {
                Value::Object(members) => read_items.extend(read(self, Members { name, nth, members })),
                other => {
                    let first = first_member(name);
                    let right =
                        format!("a mapping (`- {first}: …`, with its other members below) would be right");
                    self.report(&[Part::Key(name), Part::Item(nth)], describe(&other), right);
                }
            }
        }
        read_items
    }

    fn pin(&mut self, mut item: Members<'_>) -> Option<Pin> {
        let nth = item.nth;
        let name = self.parsed::<ActorName>(&mut item, "name", "the name of an actor");
        let digest = self.parsed::<Digest>(&mut item, "digest", "the digest of its component (`sha256:…`)");
        self.no_more(item, &["name", "digest"]);
        Some(Pin { nth, actor: name?, digest: digest? })
    }

    /// A member that must be there, and that this type reads.
    fn parsed<T>(&mut self, item: &mut Members<'_>, member: &'static str, what: &str) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        if !item.has(member) {
            self.report(
                &item.path(),
                format!("has no {member}"),
                format!("`{member}:` with {what} would be right"),
            );
            return None;
        }
        let told = match item.take(member)?.1 {
            Value::String(text) => match text.parse() {
                Ok(read) => return Some(read),
                Err(error) => (T::Err::to_string(&error), String::new()),
            },
            other => (describe(&other), format!("{what} would be right")),
        };
        self.report(&item.at(member), told.0, told.1);
        None
    }

    fn action_item(&mut self, mut item: Members<'_>) -> Option<ActionItem> {
        let (before, nth) = (self.problems.len(), item.nth);
        let actions = self.actions(&mut item);
        let select = self.selector(&mut item);
        let recurring = match item.take("recurring") {
            None => None,
            Some((_, Value::String(text))) => match text.parse::<Period>() {
                Ok(period) => Some(period),
                Err(error) => {
                    self.report(&item.at("recurring"), error.to_string(), "");
                    None
                }
            },
            Some((_, Value::Number(number))) if number.as_u64().is_some() => {
                match number.to_string().parse::<Period>() {
                    Ok(period) => Some(period),
                    Err(error) => {
                        self.report(&item.at("recurring"), error.to_string(), "");
                        None
                    }
                }
            }
            Some((_, other)) => {
                self.report(&item.at("recurring"), describe(&other), "a period, as 5s, would be right");
                None
            }
        };
        let force = match item.take("force") {
            None => false,
            Some((_, Value::Bool(force))) => force,
            Some((_, other)) => {
                self.report(&item.at("force"), describe(&other), "true or false would be right");
                false
            }
        };
        if force && recurring.is_some() {
            let right = "one of them would be right: what recurs runs in any case";
            self.report(&item.at("force"), "has `force` and `recurring`", right);
        }
        self.no_more(item, &["action", "actions", "actor", "service", "recurring", "force"]);
        (self.problems.len() == before).then_some(ActionItem { nth, actions, select, recurring, force })
    }

    fn filter_item(&mut self, mut item: Members<'_>) -> Option<FilterItem> {
        let (before, nth) = (self.problems.len(), item.nth);
        let event = self.event(&mut item);
        let actions = self.actions(&mut item);
        let select = self.selector(&mut item);
        let channel = self.channel(&mut item);
        let secret = self
            .text(&mut item, "secret")
            .or_else(|| self.text(&mut item, "secrets"))
            .filter(|s| !s.is_empty());
        let tags: BTreeSet<String> = self.texts(&mut item, "tags").unwrap_or_default().into_iter().collect();
        let known = ["cmd", "command", "actor", "service", "action", "actions", "channel", "secret", "tags"];
        self.no_more(item, &known);
        if self.problems.len() > before {
            return None;
        }
        Some(FilterItem { nth, event: event?, actions, select, channel, secret, tags })
    }

    /// A channel by which events come: a filter on another one would never match, and nobody would be told.
    fn channel(&mut self, item: &mut Members<'_>) -> Channel {
        let channel = Channel(self.text(item, "channel").unwrap_or_default());
        if !channel.is_any() && !channel.is_known() {
            let known = Channel::KNOWN;
            let right = match nearest(&channel.0, known) {
                Some(meant) => {
                    format!("did you mean `{meant}`? The channels are {} and all", known.join(", "))
                }
                None => {
                    format!("the channels are {} and all; without `channel:` it takes any", known.join(", "))
                }
            };
            let what = format!("is {}, but no event comes by such a channel", quote(&channel.0));
            self.report(&item.at("channel"), what, right);
        }
        channel
    }

    fn event(&mut self, item: &mut Members<'_>) -> Option<EventName> {
        let (cmd, command) = (item.take("cmd"), item.take("command"));
        let (member, value) = match (cmd, command) {
            (Some(_), Some(_)) => {
                self.report(
                    &item.at("command"),
                    "is given twice, as `cmd` too",
                    "one of them would be right",
                );
                return None;
            }
            (None, None) => {
                self.report(&item.path(), "has no event", "`cmd: EVENT` would be right");
                return None;
            }
            (Some(given), None) | (None, Some(given)) => given,
        };
        let Value::String(name) = value else {
            self.report(&item.at(member), describe(&value), "the name of an event would be right");
            return None;
        };
        name.parse()
            .map_err(|error: crate::name::InvalidName| {
                self.report(&item.at(member), error.to_string(), "the name of an event would be right")
            })
            .ok()
    }

    /// `action: a`, `action: "a, b"` or `actions: [a, b]`.
    fn actions(&mut self, item: &mut Members<'_>) -> Vec<String> {
        let given: Vec<&'static str> =
            ["action", "actions"].into_iter().filter(|name| item.has(name)).collect();
        match given.as_slice() {
            [] => {
                self.report(&item.path(), "has no action", "`action: NAME` would be right");
                Vec::new()
            }
            [member] => {
                let actions = self.texts(item, member);
                if actions.as_ref().is_some_and(Vec::is_empty) {
                    self.report(&item.at(member), "names no action", "the name of an action would be right");
                }
                actions.unwrap_or_default()
            }
            _ => {
                self.report(
                    &item.at("actions"),
                    "is given twice, as `action` too",
                    "one of them would be right",
                );
                item.take("action");
                item.take("actions");
                Vec::new()
            }
        }
    }

    fn selector(&mut self, item: &mut Members<'_>) -> Selector {
        Selector { actor: self.pattern(item, "actor"), service: self.pattern(item, "service") }
    }

    fn pattern(&mut self, item: &mut Members<'_>, member: &'static str) -> Option<Pattern> {
        let text = match item.take(member)?.1 {
            // An instance may be called `1`.
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            other => {
                self.report(
                    &item.at(member),
                    describe(&other),
                    "a name, or a regular expression, would be right",
                );
                return None;
            }
        };
        if text.is_empty() {
            return None;
        }
        match Pattern::new(&text) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                let right = "a name, or a regular expression (`.*` for any), would be right";
                self.report(&item.at(member), why, right);
                None
            }
        }
    }

    fn text(&mut self, item: &mut Members<'_>, member: &'static str) -> Option<String> {
        match item.take(member)?.1 {
            Value::String(text) => Some(text),
            other => {
                let right = match other {
                    Value::Number(_) | Value::Bool(_) => {
                        format!("a text would be right, in quotes: '{other}'")
                    }
                    _ => "a text would be right".into(),
                };
                self.report(&item.at(member), describe(&other), right);
                None
            }
        }
    }

    /// A list of texts, or one text in which commas part them.
    fn texts(&mut self, item: &mut Members<'_>, member: &'static str) -> Option<Vec<String>> {
        let value = item.take(member)?.1;
        let split = |text: &str| {
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
        };
        let texts = match &value {
            Value::String(text) => Some(split(text)),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
                .collect(),
            _ => None,
        };
        if texts.is_none() {
            let what = match &value {
                Value::Array(_) => "has an item that is not a text".into(),
                other => describe(other),
            };
            self.report(&item.at(member), what, "a text, or a list of texts, would be right");
        }
        texts
    }

    fn no_more(&mut self, item: Members<'_>, known: &[&str]) {
        for member in item.members.keys() {
            let right = match nearest(member, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the members are {}", known.join(", ")),
            };
            let path = [Part::Key(item.name), Part::Item(item.nth), Part::Key(member)];
            self.report(&path, format!("is not a member of an item of {}", quote(item.name)), right);
        }
    }
}

/// The members of an item that were not looked at yet.
struct Members<'a> {
    name: &'a str,
    nth: usize,
    members: Map<String, Value>,
}

impl<'a> Members<'a> {
    fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    /// The member and its value; one that is given as nothing counts as absent.
    fn take(&mut self, member: &'static str) -> Option<(&'static str, Value)> {
        self.members.remove(member).filter(|value| !value.is_null()).map(|value| (member, value))
    }

    fn path(&self) -> [Part<'a>; 2] {
        [Part::Key(self.name), Part::Item(self.nth)]
    }

    fn at(&self, member: &'a str) -> [Part<'a>; 3] {
        [Part::Key(self.name), Part::Item(self.nth), Part::Key(member)]
    }
}
