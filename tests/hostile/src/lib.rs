//! Components that mean harm, and what must become of each.
//!
//! [`corpus`] is the table: the tests serve all of it by a real host, and the fuzz targets begin with it. [`generated`] makes
//! actors out of arbitrary modules.

mod bombs;
mod generated;
mod loading;
mod outside;
mod running;
mod wrap;

pub use generated::generated;
pub use outside::{keeping_resources, looking_up};
pub use wrap::{Guest, LIBC, assemble};

/// What must become of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not loaded, and the host's words have this in them.
    Refused(&'static str),
    /// It is loaded; a job fails with this kind, and this in its message.
    Fails(&'static str, &'static str),
    /// It is loaded, and what its jobs led to ends in the dead-letter list, with these words.
    Buried(&'static str),
    /// It is loaded, and a job succeeds: what it tried did no harm.
    Harmless,
}

/// One entry of the table.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// Its name: that of its file, and of the actor if it is one.
    pub name: &'static str,
    /// The component, or what passes itself off as one.
    pub bytes: Vec<u8>,
    /// What must become of it.
    pub outcome: Outcome,
}

/// What the host's file of grants must say for those of the table that ask for something.
pub const GRANTS: &str = "grants:\n  '*': [http http://*:*]\n";

/// The table.
pub fn corpus() -> Vec<Hostile> {
    let mut all = loading::corpus();
    all.extend(bombs::corpus());
    all.extend(running::corpus());
    all.extend(outside::corpus());
    all
}

fn refused(name: &'static str, bytes: impl Into<Vec<u8>>, words: &'static str) -> Hostile {
    Hostile { name, bytes: bytes.into(), outcome: Outcome::Refused(words) }
}
