//! The Redis side: wait, claim, drop what was accepted, and what others have left behind.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use ays_redis::{ConnectOptions, Connection, Trouble};
use redis::{RedisError, Script, cmd};

use super::{config::Config, status::Stranded};

/// The most entries that are claimed at a time.
pub(super) const MOST_ENTRIES: usize = 256;
/// The most entries that are sealed: those that are being accepted, and those that come next.
const WINDOW: usize = 2 * MOST_ENTRIES;
/// The most bytes that are claimed at a time, unless the first entry alone has more.
const MOST_BYTES: usize = 8 << 20;
/// Beyond the number of any entry, and yet one that Lua's numbers hold exactly: who has that much lacks nothing.
const BEYOND: u64 = u64::MAX >> 12;
/// For how long Redis blocks the connection when the queue is empty, in seconds. Also how soon a change that does not
/// end the wait, as a key of another type, is noticed.
const WAIT_S: u32 = 1;
/// Within which time a connection is made.
const CONNECT: Duration = Duration::from_secs(5);
/// Within which time an answer comes, or the server is taken for gone: far longer than a wait, and enough for a large
/// claim on a slow line.
const ANSWER: Duration = Duration::from_secs(30);
/// For how long nobody has touched a claim that is left behind, in seconds. A door that runs looks at its claim
/// every second.
const LEFT_BEHIND_S: u64 = 5;

/// Entries that were claimed: the first has the number `first`, each the next number.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) first: u64,
    pub(super) entries: Vec<Vec<u8>>,
}

impl Claimed {
    /// The number of the last one; 0 if there are none.
    pub(super) fn last(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64).saturating_sub(1)
    }
}

/// One connection, used by one door only, since waiting blocks it.
pub(super) struct Claims {
    connection: Connection,
    queue: String,
    claim: String,
    state: String,
    claims: String,
    door: String,
    claim_script: Script,
}

impl Claims {
    /// Connects, for the store with this identity.
    pub(super) async fn connect(config: &Config, identity: &str) -> Result<Self, Trouble> {
        let options = ConnectOptions { connect_timeout: CONNECT, response_timeout: Some(ANSWER) };
        let queue = config.key();
        let mut connection = config.server().connect(queue.as_bytes(), options).await?;
        let stem = if connection.cluster { in_slot_of(queue) } else { queue.into() };
        let claim = format!("{stem}:claim:{identity}");
        let state = state_of(&claim);
        let random = RandomState::new();
        let fresh = format!("queue:{:016x}{:016x}", random.hash_one(0u8), random.hash_one(1u8));
        let door = Script::new(include_str!("name.lua"))
            .key(&claim)
            .key(&state)
            .arg(fresh)
            .invoke_async(&mut connection.redis)
            .await
            .map_err(|error| Trouble::of(&error, &connection.node))?;
        Ok(Self {
            connection,
            state,
            door,
            claims: format!("{stem}:claims"),
            queue: queue.into(),
            claim,
            claim_script: Script::new(include_str!("claim.lua")),
        })
    }

    fn trouble(&self) -> impl Fn(RedisError) -> Trouble {
        let node = self.connection.node.clone();
        move |error| Trouble::of(&error, &node)
    }

    /// The name under which the store counts the claims of this queue. Redis keeps it beside the claim, so that it is the
    /// same when the server gets another address, and another one when an empty server takes the address over.
    pub(super) fn door(&self) -> &str {
        &self.door
    }

    /// Waits up to a second for an entry, and moves it into the claim. Says whether there was one.
    pub(super) async fn wait(&mut self) -> Result<bool, Trouble> {
        let entry: Option<redis::Value> = cmd("BLMOVE")
            .arg(&self.queue)
            .arg(&self.claim)
            .arg("LEFT")
            .arg("RIGHT")
            .arg(WAIT_S)
            .query_async(&mut self.connection.redis)
            .await
            .map_err(self.trouble())?;
        Ok(entry.is_some())
    }

    /// Drops what was accepted, fills the claim up, and returns the entries that come next. `accepted` is the number of the
    /// last entry that the store accepted from this queue, `have` that of the last one that was returned.
    pub(super) async fn claim(&mut self, accepted: u64, have: u64) -> Result<Claimed, Trouble> {
        self.call(accepted, have, WINDOW).await
    }

    /// Drops what was accepted, up to this number. Does nothing if it was dropped before.
    pub(super) async fn drop(&mut self, accepted: u64) -> Result<(), Trouble> {
        self.call(accepted, BEYOND, 0).await.map(|_| ())
    }

    async fn call(&mut self, accepted: u64, have: u64, window: usize) -> Result<Claimed, Trouble> {
        let (first, entries) = self
            .claim_script
            .key(&self.queue)
            .key(&self.claim)
            .key(&self.state)
            .key(&self.claims)
            .arg(accepted)
            .arg(have)
            .arg(MOST_ENTRIES)
            .arg(MOST_BYTES)
            .arg(window)
            .arg(&self.door)
            .invoke_async(&mut self.connection.redis)
            .await
            .map_err(self.trouble())?;
        Ok(Claimed { first, entries })
    }

    /// Claims of other stores that hold entries and have been left alone for some seconds, or of which the server cannot
    /// tell. Says also whether there are any that may yet turn out to be left behind.
    pub(super) async fn stranded(&mut self) -> Result<(Vec<Stranded>, bool), Trouble> {
        let keys: Vec<String> = cmd("SMEMBERS")
            .arg(&self.claims)
            .query_async(&mut self.connection.redis)
            .await
            .map_err(self.trouble())?;
        let (mut found, mut undecided) = (Vec::new(), false);
        for key in keys.into_iter().filter(|key| *key != self.claim) {
            // Before anything else, since that counts as touching it. Refused where keys are evicted by frequency.
            let idle: Result<Option<u64>, RedisError> =
                cmd("OBJECT").arg("IDLETIME").arg(&key).query_async(&mut self.connection.redis).await;
            match idle.map_err(self.trouble()) {
                Ok(None) => continue,
                Ok(Some(seconds)) if seconds < LEFT_BEHIND_S => {
                    undecided = true;
                    continue;
                }
                Err(trouble) if trouble.needs_new_connection() => return Err(trouble),
                Ok(Some(_)) | Err(_) => {}
            }
            let entries = cmd("LLEN")
                .arg(&key)
                .query_async(&mut self.connection.redis)
                .await
                .map_err(self.trouble())?;
            if entries > 0 {
                found.push(Stranded { key, entries });
            }
        }
        Ok((found, undecided))
    }
}

/// What keys begin with that are to have the hash slot of this one, which a cluster asks for.
fn in_slot_of(key: &str) -> String {
    let has_tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty());
    if has_tag { key.into() } else { format!("{{{key}}}") }
}

/// The key of a claim's state.
fn state_of(claim: &str) -> String {
    format!("{claim}:state")
}

impl Claims {
    /// The command that returns a claim's entries to the head of the queue, in their order.
    pub(super) fn return_command(&self, config: &Config, claim: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        format!(
            "redis-cli {} EVAL \"while redis.call('LMOVE',KEYS[1],KEYS[2],'RIGHT','LEFT') do end return \
             redis.call('HDEL',KEYS[3],'first','count')\" 3 {} {} {}",
            config.address().redis_cli_options_at(&self.connection.node),
            quoted(claim),
            quoted(config.key()),
            quoted(&state_of(claim)),
        )
    }
}
