//! A real Redis server for a test.

pub use ays_redis::test_server::{Flavour, RedisServer};
