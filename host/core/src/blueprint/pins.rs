//! The versions of actors that blueprints insist on.

use std::collections::BTreeMap;

use super::{Block, Blueprint, lines::Part, read};
use crate::{
    ActorName, Digest,
    problem::{MOST_PROBLEMS, Problem, list, nearest},
};

/// An item of `actors:`: no other version of the actor than the one with this digest will do.
#[derive(Clone, Debug)]
pub struct Pin {
    /// Its place among the items, from 0.
    pub(super) nth: usize,
    /// The actor.
    pub actor: ActorName,
    /// The digest of its component.
    pub digest: Digest,
}

/// Says which pins of these files, each a name and a text, the loaded actors do not keep: `loaded` are their digests, by
/// name. This needs no more than the files, so that it can be done before anything runs; [`plan_files`](super::plan_files)
/// leaves pins aside.
///
/// # Errors
/// An actor that is loaded in another version than the pinned one, or not at all; and what is wrong with the files
/// themselves, since a pin may be in what could not be read.
pub fn check_pins<'f>(
    files: impl IntoIterator<Item = (&'f str, &'f str)>,
    loaded: &BTreeMap<String, Digest>,
) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    for (file, text) in files {
        let (blueprint, unreadable) = read::read_what_can_be(file, text);
        problems.extend(unreadable);
        for block in &blueprint.blocks {
            if let Block::Actors(pins) = block {
                problems.extend(pins.iter().filter_map(|pin| pin.problem(&blueprint, loaded)));
            }
        }
    }
    problems.truncate(MOST_PROBLEMS);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

impl Pin {
    fn problem(&self, blueprint: &Blueprint, loaded: &BTreeMap<String, Digest>) -> Option<Problem> {
        let at = |member| [Part::Key("actors"), Part::Item(self.nth), Part::Key(member)];
        let name = self.actor.as_str();
        match loaded.get(name) {
            Some(digest) if *digest == self.digest => None,
            Some(digest) => {
                let what = format!("pins {name} to {}, but the one that is loaded is {digest}", self.digest);
                let right = "the component that was meant, or the digest of this one, would be right";
                Some(blueprint.problem(&at("digest"), what, right))
            }
            None => {
                let names = loaded.keys().map(String::as_str);
                let right = match nearest(name, names.clone()) {
                    Some(meant) => format!("did you mean `{meant}`? The actors are {}", list(names)),
                    None => format!("the actors are {}", list(names)),
                };
                Some(blueprint.problem(&at("name"), format!("pins `{name}`, which is not loaded"), right))
            }
        }
    }
}
