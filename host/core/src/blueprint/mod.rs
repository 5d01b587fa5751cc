//! Blueprints: YAML that names services, their data, event filters and actions to run.
//!
//! [`read`] turns a file into a [`Blueprint`], [`plan`] says what applying blueprints would change, [`plan_files`] does both
//! and tells all mistakes at once. All YAML reading of the project is here.
//!
//! ```yaml
//! actproducer__p1:                # a service: actor__instance. Nothing after the colon means all defaults
//!   msg: hello
//! actconsumer__c1:
//! eventfilters:
//!   - cmd: new_msg_sent           # or `command`: the event
//!     actor: actconsumer
//!     service: c1
//!     action: on_new_msg_sent     # or `actions`: a list
//! actors:
//!   - name: actproducer           # no other version of this actor will do
//!     digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! actions:
//!   - action: install             # or `a, b`: one after the other
//!     service: p1
//!   - action: send_message
//!     recurring: 10s
//! grants:
//!   actproducer: [secret api_key] # what the actor may use of what it asks for: see `crate::capability`
//! ```
//!
//! # What the parts mean
//!
//! **Services.** A value counts as changed if it differs from what a blueprint said last, not from the live data: what
//! an action wrote meanwhile stays until somebody edits the blueprint. A value that no blueprint gave before is compared
//! with the live data. What is taken out of a blueprint stays as it was. Several files may name one service as long as
//! they do not give one field two values; then all they say counts.
//!
//! **Selectors.** `actor:` and `service:` are regular expressions that must match the *whole* name, so that `p1` does
//! not take `p10` along. `service:` is held against the instance's name and against the whole key. Empty or absent means
//! any. They choose among all services of the namespace, and those that the same blueprints create, wherever in a file
//! they stand.
//!
//! **Actors** that are pinned to a digest must be loaded with it, or the blueprint is not applied: [`check_pins`].
//!
//! **An item that finds nothing is a mistake**: no service matches, or a matching service does not have the action. An
//! item without `actor:` and `service:` takes the services that have the action and leaves the others out; it is a
//! mistake only if none has it. In `actions:`, an action that every actor may have (`install`, `start`, …) may be
//! missing.
//!
//! **Actions** without `recurring:` become one run, in the order of the items: an item's steps begin when those of the
//! item before have ended well. The `init` of services that are created at the same time is its first step, so that
//! every service is set up (has its event filters, for one) before any action runs. A life-cycle action that is done, or
//! under way in another run, is left out; other actions run each time the blueprint is applied.

mod faults;
mod grants;
mod lines;
mod links;
mod pins;
mod plan;
mod read;
mod runs;
mod select;
mod step;
mod wanted;
mod yaml;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use grants::read_grants;
pub use pins::{Pin, check_pins};
pub use plan::{Current, Plan, plan, plan_files};
pub use read::read;
pub use select::Selector;
pub use step::Step;

use crate::{EventName, ServiceKey, capability::Granted, event::Channel, problem::Problem, schedule::Period};

/// One blueprint file.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Its name, for messages, and for the cause of the jobs that it leads to.
    pub file: String,
    /// Its parts, in order.
    pub blocks: Vec<Block>,
    /// Its text, to find the lines of what turns out to be wrong when it is planned.
    text: String,
    /// What of it could not be read.
    faults: faults::Faults,
}

/// A part of a blueprint.
#[derive(Clone, Debug)]
pub enum Block {
    /// A service and the data that it is given.
    Service {
        /// Which.
        key: ServiceKey,
        /// Its fields, as written.
        given: Map<String, Value>,
    },
    /// The items of `actors:`.
    Actors(Vec<Pin>),
    /// The items of `actions:`.
    Actions(Vec<ActionItem>),
    /// The items of `eventfilters:`.
    Filters(Vec<FilterItem>),
    /// What `grants:` grants, by actor.
    Grants(BTreeMap<String, Granted>),
}

/// An item of `actions:`.
#[derive(Clone, Debug)]
pub struct ActionItem {
    /// Its place among the items, from 0.
    nth: usize,
    /// The actions.
    pub actions: Vec<String>,
    /// On which services.
    pub select: Selector,
    /// When they recur; without, they run once.
    pub recurring: Option<Period>,
    /// Whether a life-cycle action runs again that is done already.
    pub force: bool,
}

/// An item of `eventfilters:`.
#[derive(Clone, Debug)]
pub struct FilterItem {
    /// Its place among the items, from 0.
    nth: usize,
    /// Which events.
    pub event: EventName,
    /// The actions that handle them, each by a filter of its own.
    pub actions: Vec<String>,
    /// On which services.
    pub select: Selector,
    /// By which channel the events must have come.
    pub channel: Channel,
    /// The secret they must carry.
    pub secret: Option<String>,
    /// The tags they must carry.
    pub tags: std::collections::BTreeSet<String>,
}

impl Blueprint {
    /// A problem of this file, with its line if it can be found: `path` are the keys and indices that lead there.
    fn problem(
        &self,
        path: &[lines::Part<'_>],
        what: impl Into<String>,
        right: impl Into<String>,
    ) -> Problem {
        let problem = Problem::new(&self.file, what, right).at(lines::place(path));
        problem.on_line(lines::find(&self.text, path))
    }
}

/// Whether a file of this name is switched off: it begins with `_`. Directories before the name do not count.
pub fn is_disabled(file: &str) -> bool {
    file.rsplit(['/', '\\']).next().is_some_and(|name| name.starts_with('_'))
}
