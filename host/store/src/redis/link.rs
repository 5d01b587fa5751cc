//! What the store asks Redis, and how it gets there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use ays_redis::{ConnectOptions, Connection, Server, Sort, Trouble};
use redis::{Cmd, Pipeline, RedisError, Value, cmd};
use tokio::sync::Mutex;

use super::{args::Args, keys::Keys, scripts::Script};

/// For how long Redis blocks a connection that waits to be woken, in seconds.
const WAIT_S: u32 = 5;
/// Within which time a connection is made.
const CONNECT: Duration = Duration::from_secs(5);
/// Within which time an answer comes, or the server is taken for gone.
const ANSWER: Duration = Duration::from_secs(20);

/// A way to Redis. A simulation has another one.
#[async_trait]
pub(super) trait Link: Send + Sync + 'static {
    /// Calls a script, with the prefix of the namespace's keys.
    async fn call(&self, script: &'static Script, args: &Args) -> Result<Value, Trouble>;
    /// Asks several things at once. Each is a command with its arguments.
    async fn ask(&self, commands: &[Args]) -> Result<Vec<Value>, Trouble>;
    /// Waits until there is something in a list, and empties it; returns also when there has been nothing for a while.
    async fn wait(&self, list: &str) -> Result<(), Trouble>;
    /// Grows whenever another server, or one that was started anew, is met: what was read before may not be there.
    fn generation(&self) -> u64;
}

/// Connections to a real server.
pub(super) struct Connections {
    server: Arc<Server>,
    keys: Keys,
    /// For commands.
    main: Mutex<Option<Connection>>,
    /// For waiting, which blocks it.
    waiting: Mutex<Option<Connection>>,
    /// The process at the other end, by the name it has for itself.
    process: std::sync::Mutex<Option<String>>,
    generation: AtomicU64,
}

impl Connections {
    pub(super) fn new(server: Arc<Server>, keys: Keys) -> Self {
        Self {
            server,
            keys,
            main: Mutex::default(),
            waiting: Mutex::default(),
            process: std::sync::Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    async fn connect(&self, response_timeout: Duration) -> Result<Connection, Trouble> {
        let options = ConnectOptions { connect_timeout: CONNECT, response_timeout: Some(response_timeout) };
        self.server.connect(self.keys.prefix().as_bytes(), options).await
    }

    /// The connection for commands.
    async fn main(&self) -> Result<Connection, Trouble> {
        let mut main = self.main.lock().await;
        if let Some(connection) = main.as_ref() {
            return Ok(connection.clone());
        }
        let mut connection = self.connect(ANSWER).await?;
        let info: Result<String, RedisError> =
            cmd("INFO").arg("server").query_async(&mut connection.redis).await;
        // A user who may not ask that cannot be told of a server that was started anew; versions of records tell, too.
        let process = info.ok().and_then(|info| {
            info.lines().find_map(|line| line.strip_prefix("run_id:").map(|id| id.trim().to_owned()))
        });
        let mut known = self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.is_some() && *known != process {
            self.generation.fetch_add(1, Relaxed);
        }
        *known = process;
        drop(known);
        *main = Some(connection.clone());
        Ok(connection)
    }

    /// What came of it; a connection that is no good any more is forgotten.
    async fn judged<T>(
        place: &Mutex<Option<Connection>>,
        connection: &mut Connection,
        result: Result<T, RedisError>,
    ) -> Result<T, Trouble> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                let trouble = Trouble::of(&error, &connection.node);
                if trouble.needs_new_connection() || trouble.sort() == Sort::ReadOnly {
                    *place.lock().await = None;
                    return Err(trouble);
                }
                Err(trouble.measured(&mut connection.redis).await)
            }
        }
    }
}

fn command(args: &Args) -> Cmd {
    let mut command = Cmd::new();
    for arg in args.iter() {
        command.arg(arg);
    }
    command
}

/// An error in the place of an answer is an error.
fn checked(value: Value) -> Result<Value, RedisError> {
    value.extract_error()
}

#[async_trait]
impl Link for Connections {
    async fn call(&self, script: &'static Script, args: &Args) -> Result<Value, Trouble> {
        let mut connection = self.main().await?;
        let evaluate = |how: &str, what: &str| {
            let mut command = cmd(how);
            command.arg(what).arg(1).arg(self.keys.prefix());
            for arg in args.iter() {
                command.arg(arg);
            }
            command
        };
        let by_name = evaluate("EVALSHA", script.sha1());
        let mut result = connection.redis.send_packed_command(&by_name).await.and_then(checked);
        if let Err(error) = &result
            && Trouble::of(error, "").sort() == Sort::NoScript
        {
            let whole = evaluate("EVAL", script.source);
            result = connection.redis.send_packed_command(&whole).await.and_then(checked);
        }
        Self::judged(&self.main, &mut connection, result).await
    }

    async fn ask(&self, commands: &[Args]) -> Result<Vec<Value>, Trouble> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.main().await?;
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for args in commands {
            pipeline.add_command(command(args));
        }
        let result = connection.redis.send_packed_commands(&pipeline, 0, commands.len()).await;
        let result = result.and_then(|values| values.into_iter().map(checked).collect());
        Self::judged(&self.main, &mut connection, result).await
    }

    async fn wait(&self, list: &str) -> Result<(), Trouble> {
        let mut waiting = self.waiting.lock().await;
        let mut connection = match waiting.take() {
            Some(connection) => connection,
            None => self.connect(Duration::from_secs(u64::from(WAIT_S)) + ANSWER).await?,
        };
        let mut pop = cmd("BLPOP");
        pop.arg(list).arg(WAIT_S);
        let result = connection.redis.send_packed_command(&pop).await.and_then(checked);
        drop(waiting);
        Self::judged(&self.waiting, &mut connection, result).await?;
        *self.waiting.lock().await = Some(connection);
        Ok(())
    }

    fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }
}
