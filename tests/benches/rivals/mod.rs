//! The parts of the benchmark `redis_rivals`.

mod ays;
pub(crate) mod contest;
mod meter;
mod node;
pub(crate) mod plain;
mod report;
mod work;
mod worker;
