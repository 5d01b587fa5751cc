//! HRD: the `schema.hrd` and `actor.hrd` in which actors of AYS say what they are.
//!
//! Both are lists of `key = value`; `#` begins a comment, and indented lines go on with the value of the line before.
//! Values may be quoted with `'…'` or `"…"`; `\` before a quote keeps it from ending the text.

mod actor;
mod entry;
mod schema;

pub use actor::{ActorConfig, parse_actor};
pub use schema::parse_schema;
