//! The services that blueprints name, over all files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Block, Blueprint, faults::Faults, lines::Part};
use crate::{
    ServiceKey,
    manifest::Manifest,
    problem::{Problem, list, nearest, report},
    schema::{Given, Mismatch, Schema, describe},
};

/// A service that blueprints name.
pub(super) struct Wanted<'a> {
    pub(super) key: ServiceKey,
    pub(super) manifest: &'a Manifest,
    /// The first file that names it; none if it is created because another service needs it.
    pub(super) file: Option<&'a Blueprint>,
    pub(super) given: Given,
    /// The fields of which something is wrong, and was told, so that they are not taken for missing.
    pub(super) faulty: BTreeSet<String>,
}

impl Wanted<'_> {
    /// A problem with one of its fields. For a service that no file names, of the file that led to it.
    pub(super) fn problem(&self, field: &str, what: impl Into<String>, right: impl Into<String>) -> Problem {
        let path = [Part::Key(self.key.as_str()), Part::Key(field)];
        let path = if field.is_empty() { path.get(..1).unwrap_or_default() } else { &path };
        match self.file {
            Some(file) => file.problem(path, what, right),
            None => Problem::new("", what, right).at(super::lines::place(path)),
        }
    }
}

/// Gathers the services in the order in which they are named first, and checks what they are given. Those of which
/// something is wrong are among them, without it: others may link to them.
pub(super) fn gather<'a>(
    blueprints: &'a [Blueprint],
    actors: &'a BTreeMap<String, Manifest>,
    faults: &mut Faults,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted<'a>> {
    let mut places: BTreeMap<&ServiceKey, usize> = BTreeMap::new();
    let mut named: Vec<(&ServiceKey, &Blueprint, Map<String, Value>)> = Vec::new();
    for blueprint in blueprints {
        for block in &blueprint.blocks {
            let Block::Service { key, given } = block else { continue };
            match places.get(key).and_then(|place| named.get_mut(*place)) {
                None => {
                    places.insert(key, named.len());
                    named.push((key, blueprint, given.clone()));
                }
                Some((_, first, known)) => {
                    for (field, value) in given {
                        match known.get(field) {
                            Some(other) if other != value => {
                                let what =
                                    format!("{}, but {} gives it another value", describe(value), first.file);
                                let right = "the same value in both files, or the field in one of them, would be right";
                                let path = [Part::Key(key.as_str()), Part::Key(field)];
                                report(problems, || blueprint.problem(&path, what, right));
                            }
                            Some(_) => {}
                            None => drop(known.insert(field.clone(), value.clone())),
                        }
                    }
                }
            }
        }
    }
    let mut wanted = Vec::with_capacity(named.len());
    for (key, file, given) in named {
        let Some(manifest) = actors.get(key.actor()) else {
            let names = actors.keys().map(String::as_str);
            let right = match nearest(key.actor(), names.clone()) {
                Some(meant) => format!("did you mean `{meant}`? The actors are {}", list(names)),
                None => format!("the actors are {}", list(names)),
            };
            let what = format!("there is no actor `{}`", key.actor());
            report(problems, || file.problem(&[Part::Key(key.as_str())], what, right));
            faults.names.insert(key.to_string());
            continue;
        };
        let schema = &manifest.schema;
        let mut faulty = BTreeSet::new();
        if faults.services.contains(key) {
            faulty.extend(schema.fields.iter().map(|field| field.name.clone()));
        }
        let unread = |name: &&String| faults.fields.contains(&(key.clone(), (*name).clone()));
        faulty.extend(given.keys().filter(unread).filter_map(|name| own_name(schema, name)));
        let given = accept(schema, &given, &mut faulty, |mismatch| {
            let path = [Part::Key(key.as_str()), Part::Key(&mismatch.field)];
            report(problems, || file.problem(&path, &mismatch.what, &mismatch.right));
        });
        wanted.push(Wanted { key: key.clone(), manifest, file: Some(file), given, faulty });
    }
    wanted
}

/// The name of a field that a blueprint may call by an alias.
fn own_name(schema: &Schema, name: &str) -> Option<String> {
    schema.field(name).map(|field| field.name.clone())
}

/// What is right of the fields that are given; the others are told of, and added to those that are faulty.
fn accept(
    schema: &Schema,
    given: &Map<String, Value>,
    faulty: &mut BTreeSet<String>,
    tell: impl FnMut(&Mismatch),
) -> Given {
    let sound = |faulty: &BTreeSet<String>| -> Map<String, Value> {
        let known = |name: &str| own_name(schema, name).is_none_or(|name| !faulty.contains(&name));
        given.iter().filter(|(name, _)| known(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    let mismatches = match schema.accept(&sound(faulty)) {
        Ok(given) => return given,
        Err(mismatches) => mismatches,
    };
    mismatches.iter().for_each(tell);
    faulty.extend(mismatches.iter().filter_map(|mismatch| own_name(schema, &mismatch.field)));
    let mut rest = sound(faulty);
    rest.retain(|name, _| schema.field(name).is_some());
    schema.accept(&rest).unwrap_or_default()
}
