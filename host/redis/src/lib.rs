//! How a Redis server is named, reached and judged.

#[cfg(feature = "test-server")]
pub mod test_server;
