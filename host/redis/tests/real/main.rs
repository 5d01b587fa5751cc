//! The crate against real servers, which each test starts for itself.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod configuration;
mod connecting;
mod tls;
mod troubles;

use ays_redis::{ConnectOptions, Connection, Server, Trouble};

/// All keys of these tests.
const KEY: &[u8] = b"{ays:default}:x";

fn server(address: &str) -> Server {
    Server::new(address.parse().unwrap()).unwrap()
}

async fn connect(address: &str) -> Result<Connection, Trouble> {
    server(address).connect(KEY, ConnectOptions::default()).await
}

/// Runs a command, written with spaces between its words.
async fn run(connection: &mut Connection, command: &str) -> Result<redis::Value, Trouble> {
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        cmd.arg(word);
    });
    cmd.query_async(&mut connection.redis).await.map_err(|error| Trouble::of(&error, &connection.node))
}
