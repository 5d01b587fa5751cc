//! How a Redis server is named, reached and judged: by the store in Redis as well as by the door that reads a queue there.
//!
//! An [`Address`] is what a person writes: one server, a cluster or a set of sentinels. A [`Server`] connects to the node
//! that serves a key at that moment. All keys that are used together have one hash slot, so one connection to one node
//! is enough; when the slot or the primary goes elsewhere, the connection is dropped and made anew. What goes wrong is a
//! [`Trouble`], which says what it is, what to do about it and whether to try again. [`Settings`] says what of a server's
//! configuration endangers the data.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ays_redis::{Address, ConnectOptions, Server, settings};
//!
//! let address: Address = "rediss://me:secret@redis.example.com?tls-ca=/etc/ca.pem".parse()?;
//! let server = Server::new(address)?;
//! let mut connection = server.connect(b"{ays:default}:x", ConnectOptions::default()).await?;
//! for warning in settings(&mut connection).await?.warnings(server.address()) {
//!     eprintln!("{}: {}; {}", connection.node, warning.what, warning.fix);
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod server;
mod settings;
mod slots;
mod tls;
mod trouble;

#[cfg(feature = "test-server")]
pub mod test_server;

pub use address::{Address, InvalidAddress, without_password};
pub use server::{ConnectOptions, Connection, Server};
pub use settings::{Settings, Warning, commands, settings};
pub use tls::InvalidTls;
pub use trouble::{Sort, Trouble};
