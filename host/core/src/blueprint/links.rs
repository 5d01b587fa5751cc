//! Links: which services the `parent:` and `consume:` fields of a service stand for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{faults::Faults, wanted::Wanted};
use crate::{
    ActorName, ServiceKey,
    manifest::Manifest,
    problem::{Problem, list, quote, report},
    schema::{Given, Link},
    service::Links,
};

/// The most services that one field creates by itself.
const MOST_CREATED: u32 = 100;

/// All services there are and will be, by role.
pub(super) struct Roles {
    by_role: BTreeMap<String, Role>,
    /// What else there may have been meant to be.
    faults: Faults,
}

#[derive(Default)]
struct Role {
    keys: BTreeSet<ServiceKey>,
    /// A role may have several actors, and each an instance of the same name.
    by_instance: BTreeMap<String, BTreeSet<ServiceKey>>,
}

impl Roles {
    pub(super) fn new(keys: impl Iterator<Item = ServiceKey>, faults: Faults) -> Self {
        let mut roles = Self { by_role: BTreeMap::new(), faults };
        keys.for_each(|key| roles.add(key));
        roles
    }

    pub(super) fn add(&mut self, key: ServiceKey) {
        let role = key.actor().split('.').next().unwrap_or_default().to_owned();
        let role = self.by_role.entry(role).or_default();
        role.by_instance.entry(key.instance().to_owned()).or_default().insert(key.clone());
        role.keys.insert(key);
    }

    fn of(&self, role: &str) -> impl Iterator<Item = &ServiceKey> + Clone {
        self.by_role.get(role).into_iter().flat_map(|role| &role.keys)
    }

    /// The service of this role that `name` stands for: a whole key, or else an instance.
    fn find(&self, role: &str, name: &str) -> Result<ServiceKey, (String, String)> {
        let known = self.by_role.get(role);
        let key =
            name.parse::<ServiceKey>().ok().filter(|key| known.is_some_and(|role| role.keys.contains(key)));
        if let Some(key) = key {
            return Ok(key);
        }
        let hits = || known.and_then(|role| role.by_instance.get(name)).into_iter().flatten();
        let Some(first) = hits().next() else {
            let what = format!("names {}, but there is no such service of role `{role}`", quote(name));
            let right = match self.of(role).next() {
                Some(_) => {
                    format!("the services of that role are {}", list(self.of(role).map(ServiceKey::as_str)))
                }
                None => format!("`{role}__…:` in a blueprint would be right"),
            };
            return Err((what, right));
        };
        if hits().nth(1).is_some() {
            let what =
                format!("names {}, which may be {}", quote(name), list(hits().map(ServiceKey::as_str)));
            return Err((what, format!("the whole key, as {first}, would be right")));
        }
        Ok(first.clone())
    }
}

/// What resolving the links of one service gave.
pub(super) struct Resolved<'a> {
    /// By field: the services, in order.
    pub(super) fields: BTreeMap<String, Vec<ServiceKey>>,
    /// Services that are created because this one needs them.
    pub(super) created: Vec<Wanted<'a>>,
}

/// Resolves the links of a service. `applied` is what blueprints said of it before; none for a new service, whose
/// fields may need services to be picked or created.
pub(super) fn resolve<'a>(
    wanted: &Wanted<'a>,
    applied: Option<&serde_json::Map<String, Value>>,
    actors: &'a BTreeMap<String, Manifest>,
    roles: &mut Roles,
    problems: &mut Vec<Problem>,
) -> Resolved<'a> {
    let mut resolved = Resolved { fields: BTreeMap::new(), created: Vec::new() };
    for field in &wanted.manifest.schema.fields {
        let Some(link) = field.link() else { continue };
        if wanted.faulty.contains(&field.name) {
            continue;
        }
        let keys = match (wanted.given.links.get(&field.name), applied) {
            (Some(names), _) => named(names, link, roles),
            (None, Some(applied)) => Ok(kept(applied.get(&field.name))),
            (None, None) if !roles.faults.knows_all() => Ok(Vec::new()),
            (None, None) if link.auto && link.min > 0 => {
                auto(wanted, link, actors, roles, &mut resolved.created)
            }
            (None, None) if link.min > 0 => {
                let there = list(roles.of(link.role).map(ServiceKey::as_str));
                let what = format!("is missing: it names {}", amount(link));
                Err((what, format!("the services of role `{}` are {there}", link.role)))
            }
            (None, None) => Ok(Vec::new()),
        };
        match keys {
            Ok(keys) if keys.contains(&wanted.key) => {
                let (what, right) = ("names the service itself", "another service would be right");
                report(problems, || wanted.problem(&field.name, what, right));
            }
            Ok(keys) if keys.is_empty() && !wanted.given.links.contains_key(&field.name) => {}
            Ok(keys) => drop(resolved.fields.insert(field.name.clone(), keys)),
            Err((what, right)) => report(problems, || wanted.problem(&field.name, what, right)),
        }
    }
    resolved
}

fn amount(link: Link<'_>) -> String {
    let services = |n: u32| if n == 1 { "1 service".to_owned() } else { format!("{n} services") };
    let number = match (link.min, link.max) {
        (min, max) if min == max => services(min),
        (min, u32::MAX) => format!("at least {}", services(min)),
        (0, max) => format!("at most {}", services(max)),
        (min, max) => format!("{min} to {}", services(max)),
    };
    format!("{number} of role `{}`", link.role)
}

fn named(names: &[String], link: Link<'_>, roles: &Roles) -> Result<Vec<ServiceKey>, (String, String)> {
    let mut keys: Vec<ServiceKey> = Vec::with_capacity(names.len());
    // Whether a name may stand for something that has another fault.
    let mut open = false;
    for name in names {
        let key = match roles.find(link.role, name) {
            Err(_) if roles.faults.may_have(name) => {
                open = true;
                continue;
            }
            found => found?,
        };
        if keys.contains(&key) {
            return Err((format!("names {key} twice"), "each service once would be right".into()));
        }
        keys.push(key);
    }
    let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    if !open && (count < link.min || count > link.max) {
        let right = format!("{} would be right", amount(link));
        return Err((format!("names {count} service{}", if count == 1 { "" } else { "s" }), right));
    }
    Ok(keys)
}

/// What was linked before, when the blueprint no longer says.
fn kept(applied: Option<&Value>) -> Vec<ServiceKey> {
    let items = applied.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str()?.parse().ok()).collect()
}

/// Picks the services of the role if they are no more than needed, and creates what is missing. Which of several was
/// meant is not guessed.
fn auto<'a>(
    wanted: &Wanted<'a>,
    link: Link<'_>,
    actors: &'a BTreeMap<String, Manifest>,
    roles: &mut Roles,
    created: &mut Vec<Wanted<'a>>,
) -> Result<Vec<ServiceKey>, (String, String)> {
    let need = link.min;
    let mut keys: Vec<ServiceKey> = roles.of(link.role).filter(|key| **key != wanted.key).cloned().collect();
    let there = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    if there > need {
        let what = format!(
            "is missing, and there are more services of role `{}` than the {need} it takes by itself",
            link.role
        );
        return Err((
            what,
            format!(
                "naming {} would be right; they are {}",
                amount(link),
                list(keys.iter().map(ServiceKey::as_str))
            ),
        ));
    }
    if need - there > MOST_CREATED {
        let what = format!("would create {} services", need - there);
        return Err((
            what,
            format!("at most {MOST_CREATED} are created by themselves; naming them would be right"),
        ));
    }
    if need > there {
        let (name, manifest) = actor_of(link.role, actors)?;
        let mut nth = 0u32;
        while u32::try_from(keys.len()).unwrap_or(u32::MAX) < need {
            nth += 1;
            let instance = if nth == 1 { "auto".to_owned() } else { format!("auto_{nth}") };
            let key = ServiceKey::new(name, &instance).map_err(|error| (error.to_string(), String::new()))?;
            if keys.contains(&key) || key == wanted.key {
                continue;
            }
            roles.add(key.clone());
            keys.push(key.clone());
            let (given, faulty) = (Given::default(), BTreeSet::new());
            created.push(Wanted { key, manifest, file: wanted.file, given, faulty });
        }
    }
    Ok(keys)
}

/// The actor whose services have this role.
fn actor_of<'a>(
    role: &str,
    actors: &'a BTreeMap<String, Manifest>,
) -> Result<(&'a ActorName, &'a Manifest), (String, String)> {
    let of_role: Vec<&Manifest> = actors.values().filter(|manifest| manifest.name.role() == role).collect();
    match of_role.iter().find(|manifest| manifest.name.as_str() == role).or(of_role.first()) {
        Some(manifest) if of_role.len() == 1 || manifest.name.as_str() == role => {
            Ok((&manifest.name, manifest))
        }
        Some(_) => {
            let names = list(of_role.iter().map(|manifest| manifest.name.as_str()));
            let what = format!("is missing, and a service of role `{role}` may be of several actors");
            Err((what, format!("a service of one of {names} in the blueprint would be right")))
        }
        None => {
            let what = format!("is missing, and there is no actor of role `{role}` to create it with");
            Err((what, format!("the actors are {}", list(actors.keys()))))
        }
    }
}

/// The links that a service's fields make together.
pub(super) fn links_of(manifest: &Manifest, fields: &BTreeMap<String, Vec<ServiceKey>>) -> Links {
    let mut links = Links::default();
    for field in &manifest.schema.fields {
        let (Some(link), Some(keys)) = (field.link(), fields.get(&field.name)) else { continue };
        if link.is_parent {
            links.parent = keys.first().cloned();
            continue;
        }
        if keys.is_empty() {
            continue;
        }
        let producers = links.producers.entry(link.role.to_owned()).or_default();
        for key in keys {
            if !producers.contains(key) {
                producers.push(key.clone());
            }
        }
    }
    links
}

/// A cycle among services, beginning and ending with the same one; none if there is none.
pub(super) fn cycle<'a>(
    links: &BTreeMap<&'a ServiceKey, Vec<&'a ServiceKey>>,
) -> Option<Vec<&'a ServiceKey>> {
    // Depth first, with a stack of its own: chains may be long.
    let mut done: BTreeSet<&ServiceKey> = BTreeSet::new();
    for start in links.keys() {
        let mut way: Vec<(&'a ServiceKey, usize)> = vec![(start, 0)];
        let mut on_way: BTreeSet<&ServiceKey> = BTreeSet::from([*start]);
        while let Some((key, next)) = way.last_mut() {
            let to = if done.contains(*key) {
                None
            } else {
                links.get(*key).and_then(|to| to.get(*next)).copied()
            };
            *next += 1;
            match to {
                Some(to) if on_way.contains(to) => {
                    let keys = way.iter().map(|(key, _)| *key);
                    return Some(keys.skip_while(|key| *key != to).chain([to]).collect());
                }
                Some(to) => {
                    on_way.insert(to);
                    way.push((to, 0));
                }
                None => {
                    let key = *key;
                    way.pop();
                    on_way.remove(key);
                    done.insert(key);
                }
            }
        }
    }
    None
}
