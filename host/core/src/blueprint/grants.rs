//! `grants:` of blueprints, and the host's grants file.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Block, Blueprint, Step, faults::Faults, lines::Part, yaml};
use crate::{
    ActorName,
    capability::{Capabilities, EVERY, Granted, Grants, InvalidCapability},
    manifest::Manifest,
    problem::{MOST_PROBLEMS, Problem, list, nearest, report},
    schema::describe,
};

/// Reads a grants file: YAML with `grants:` and `deny:`, each a mapping of actors (`'*'` for all) to lists of
/// capabilities. `file` is its name, for messages.
///
/// # Errors
/// All mistakes in it.
pub fn read_grants(file: &str, text: &str) -> Result<Grants, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source =
        Blueprint { file: file.into(), blocks: Vec::new(), text: text.into(), faults: Faults::default() };
    let document = yaml::read(file, text).map_err(|problem| vec![problem])?;
    let mut problems: Vec<Problem> = document
        .problems
        .iter()
        .take(MOST_PROBLEMS)
        .map(|fault| source.problem(&yaml::parts(&fault.place), &fault.what, &fault.right))
        .collect();
    let mut grants = Grants::default();
    for (name, value) in document.members {
        match name.as_str() {
            "grants" => grants.grants = by_actor(&source, &name, value, &mut problems),
            "deny" => {
                let denied: BTreeMap<String, Denied> = by_actor(&source, &name, value, &mut problems);
                grants.deny = denied.into_iter().map(|(actor, denied)| (actor, denied.0)).collect();
            }
            _ => {
                let right = match nearest(&name, ["grants", "deny"]) {
                    Some(meant) => format!("did you mean `{meant}:`?"),
                    None => "`grants:` or `deny:` would be right".into(),
                };
                let path = [Part::Key(&name)];
                report(&mut problems, || source.problem(&path, "is no block of a grants file", right));
            }
        }
    }
    if problems.is_empty() { Ok(grants) } else { Err(problems) }
}

/// What blueprints grant, by actor: what several of them grant one adds up. An actor that is not there is a mistake.
pub(super) fn plan(
    blueprints: &[Blueprint],
    actors: &BTreeMap<String, Manifest>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Granted> {
    let mut all = Grants::default();
    for blueprint in blueprints {
        for block in &blueprint.blocks {
            let Block::Grants(grants) = block else { continue };
            for actor in grants.keys().filter(|actor| *actor != EVERY && !actors.contains_key(*actor)) {
                let names = actors.keys().map(String::as_str);
                let right = match nearest(actor, names.clone()) {
                    Some(meant) => format!("did you mean `{meant}`? The actors are {}", list(names)),
                    None => format!("the actors are {}", list(names)),
                };
                let path = [Part::Key("grants"), Part::Key(actor)];
                let what = format!("there is no actor `{actor}`");
                report(problems, || blueprint.problem(&path, what, right));
            }
            all = all.and(&Grants { grants: grants.clone(), ..Grants::default() });
        }
    }
    all.grants
}

/// The steps that put these grants in place of those that blueprints gave before.
pub(super) fn steps(
    grants: &BTreeMap<String, Granted>,
    before: &BTreeMap<String, Granted>,
) -> impl Iterator<Item = Step> {
    grants.iter().map(|(actor, granted)| match before.get(actor) {
        Some(before) if before == granted => Step::Unchanged { what: format!("grants of {actor}") },
        _ => Step::Grant { actor: actor.clone(), granted: granted.clone() },
    })
}

/// What stands for one actor.
pub(super) trait OfActor: Default {
    fn read(&mut self, text: &str) -> Result<(), InvalidCapability>;
}

impl OfActor for Granted {
    fn read(&mut self, text: &str) -> Result<(), InvalidCapability> {
        Self::read(self, text)
    }
}

#[derive(Default)]
struct Denied(Capabilities);

impl OfActor for Denied {
    fn read(&mut self, text: &str) -> Result<(), InvalidCapability> {
        self.0.read(text)
    }
}

/// Reads a mapping of actors to lists of capabilities, which stands at the key `block`.
pub(super) fn by_actor<T: OfActor>(
    source: &Blueprint,
    block: &str,
    value: Value,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, T> {
    let mut all = BTreeMap::new();
    let actors = match value {
        Value::Null => return all,
        Value::Object(actors) => actors,
        other => {
            let right =
                "a mapping of actors to lists (`weather: [http GET https://api.example.com]`) would be right";
            report(problems, || source.problem(&[Part::Key(block)], describe(&other), right));
            return all;
        }
    };
    for (actor, value) in actors {
        let path = [Part::Key(block), Part::Key(&actor)];
        if actor != EVERY
            && let Err(error) = actor.parse::<ActorName>()
        {
            let right = "an actor, or `'*'` for all of them, would be right";
            report(problems, || source.problem(&path, error.to_string(), right));
            continue;
        }
        let mut read = T::default();
        let items = match value {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            one @ Value::String(_) => vec![one],
            other => {
                let right = "a list (`- http GET https://api.example.com`) would be right";
                report(problems, || source.problem(&path, describe(&other), right));
                continue;
            }
        };
        for (nth, item) in items.iter().enumerate() {
            let path = [Part::Key(block), Part::Key(&actor), Part::Item(nth)];
            match item {
                Value::String(text) => {
                    if let Err(error) = read.read(text) {
                        report(problems, || source.problem(&path, error.to_string(), ""));
                    }
                }
                other => {
                    let right = "a text, as `http GET https://api.example.com`, would be right";
                    report(problems, || source.problem(&path, describe(other), right));
                }
            }
        }
        all.insert(actor, read);
    }
    all
}
