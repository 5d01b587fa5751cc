//! Connecting to the node that serves a key now.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, Value, aio::MultiplexedConnection, cmd,
};

use crate::{
    address::{Address, Layout, Login, Place, listed},
    slots::{Slots, slot},
    tls::{self, InvalidTls, Tls},
    trouble::{Sort, Trouble},
};

/// How often a cluster may send from one node to another before it is taken for one that is rearranging itself.
const MOST_REDIRECTS: usize = 5;

/// How a connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Within which time each node that is asked on the way takes the connection, and answers. 5 s by default.
    pub connect_timeout: Duration,
    /// Within which time an answer comes, or the command fails as [`Sort::Silent`]. None waits for ever: for commands that
    /// block. 30 s by default.
    pub response_timeout: Option<Duration>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), response_timeout: Some(Duration::from_secs(30)) }
    }
}

/// A connection to one node. It does not come back when it ends: then [`Server::connect`] makes another.
#[derive(Clone)]
pub struct Connection {
    /// The connection. Clones share it; commands that block are for a connection of their own.
    pub redis: MultiplexedConnection,
    /// The node's address, `HOST:PORT` or the path of a socket.
    pub node: String,
    /// Whether the node is one of a cluster, so that commands and scripts may use only keys of one hash slot together.
    pub cluster: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.node)
    }
}

/// What an [`Address`] names, with its TLS files read.
#[derive(Debug)]
pub struct Server {
    address: Address,
    tls: Option<Tls>,
    /// Nodes that a cluster told of, to be asked when those of the address are gone.
    known: Mutex<Vec<Place>>,
}

/// A connection on the way to the right node.
struct Reached {
    redis: MultiplexedConnection,
    place: Place,
    cluster: bool,
    patience: Duration,
}

impl Reached {
    /// The connection for the questions on the way, which are answered soon or not at all.
    fn asking(&self) -> MultiplexedConnection {
        let mut asking = self.redis.clone();
        asking.set_response_timeout(self.patience);
        asking
    }
}

impl Server {
    /// Reads the TLS files that the address names. Connects nothing.
    ///
    /// # Errors
    /// A TLS file cannot be read, or is not what it should be.
    pub fn new(address: Address) -> Result<Self, InvalidTls> {
        let tls = match &address.tls {
            Some(files) => Some(tls::read(files)?),
            None => None,
        };
        Ok(Self { address, tls, known: Mutex::default() })
    }

    /// What it was made from.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Connects to the node that serves the key `slot_of` now, for reading and writing: the server itself, the primary of
    /// the key's slot in a cluster, the primary that the sentinels name.
    ///
    /// # Errors
    /// Whatever keeps all known nodes or sentinels from leading there; of several troubles, the one that says most.
    pub async fn connect(&self, slot_of: &[u8], options: ConnectOptions) -> Result<Connection, Trouble> {
        let reached = match &self.address.layout {
            Layout::One(place) => self.by_node(std::slice::from_ref(place), slot_of, options).await,
            Layout::Cluster(places) => self.by_node(places, slot_of, options).await,
            Layout::Sentinel { sentinels, login, primary } => {
                self.by_sentinels(sentinels, login, primary, options).await
            }
        }?;
        let node = reached.place.to_string();
        tracing::debug!(address = %self.address, %node, "connected to Redis");
        Ok(Connection { node, redis: reached.redis, cluster: reached.cluster })
    }

    /// By the first of these nodes, and then of those that a cluster told of, that leads to the right one.
    async fn by_node(
        &self,
        places: &[Place],
        slot_of: &[u8],
        options: ConnectOptions,
    ) -> Result<Reached, Trouble> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let more = known.iter().filter(|place| !places.contains(place));
        let mut worst = Worst::default();
        for place in places.iter().chain(more) {
            match self.starting_at(place, slot_of, options).await {
                Ok(reached) => return Ok(reached),
                Err(trouble) => worst.add(trouble),
            }
        }
        Err(worst.trouble(places))
    }

    /// From a node to the one that serves the key, if that is another.
    async fn starting_at(
        &self,
        place: &Place,
        slot_of: &[u8],
        options: ConnectOptions,
    ) -> Result<Reached, Trouble> {
        let reached = self.reach(place, options).await?;
        let Some(slots) = self.slots(&reached).await? else { return Ok(reached) };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = slots.places(place);
        let reached = self.to_primary(reached, &slots, slot(slot_of), options).await?;
        let reached = self.confirmed(reached, slot_of, options).await?;
        Ok(Reached { cluster: true, ..reached })
    }

    /// To the primary that a node of a cluster names for a slot.
    async fn to_primary(
        &self,
        asked: Reached,
        slots: &Slots,
        slot: u16,
        options: ConnectOptions,
    ) -> Result<Reached, Trouble> {
        let Some(primary) = slots.primary(slot) else {
            let said = format!("no node serves the slot {slot}");
            return Err(Trouble::new(Sort::ClusterDown, &asked.place.to_string(), said));
        };
        // By its id, since it may tell an address by which it cannot be reached from here.
        let own: Result<String, RedisError> =
            cmd("CLUSTER").arg("MYID").query_async(&mut asked.asking()).await;
        if primary.id.is_some() && own.ok() == primary.id {
            return Ok(asked);
        }
        match primary.place(&asked.place) {
            Some(place) if place != asked.place => self.reach(&place, options).await,
            _ => Ok(asked),
        }
    }

    /// Asks a node for the key, and follows where it sends: the node that told of the cluster may not have heard of its
    /// latest changes, and the one that serves the slot has.
    async fn confirmed(
        &self,
        mut reached: Reached,
        slot_of: &[u8],
        options: ConnectOptions,
    ) -> Result<Reached, Trouble> {
        for _ in 0..MOST_REDIRECTS {
            let found: Result<Value, RedisError> =
                cmd("EXISTS").arg(slot_of).query_async(&mut reached.asking()).await;
            let Err(error) = found else { return Ok(reached) };
            if error.code() == Some("MOVED")
                && let Some(place) = error.redirect_node().and_then(|(node, _)| Place::of_node(node))
            {
                reached = self.reach(&place.seen_from(&reached.place), options).await?;
                continue;
            }
            let trouble = Trouble::of(&error, &reached.place.to_string());
            return match trouble.sort() {
                // Commands that are needed may get through.
                Sort::NoPermission | Sort::Moved | Sort::Other | Sort::UnknownCommand => Ok(reached),
                _ => Err(trouble),
            };
        }
        let said = format!("its nodes send from one to another for the slot {}", slot(slot_of));
        Err(Trouble::new(Sort::ClusterDown, &reached.place.to_string(), said))
    }

    /// What a node says of its cluster; none if it is in none.
    async fn slots(&self, reached: &Reached) -> Result<Option<Slots>, Trouble> {
        let node = reached.place.to_string();
        let error = match cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut reached.asking()).await {
            Ok(reply) => return Ok(Some(Slots::read(&reply))),
            Err(error) => error,
        };
        let trouble = Trouble::of(&error, &node);
        match trouble.sort() {
            Sort::NoPermission => {
                let info: Result<String, RedisError> =
                    cmd("INFO").arg("cluster").query_async(&mut reached.asking()).await;
                if info.is_ok_and(|info| info.contains("cluster_enabled:1")) {
                    return Err(trouble);
                }
                Ok(None)
            }
            // Not a cluster, or something in front of one that hides it.
            Sort::Other | Sort::UnknownCommand => Ok(None),
            _ => Err(trouble),
        }
    }

    async fn by_sentinels(
        &self,
        sentinels: &[Place],
        login: &Login,
        primary: &str,
        options: ConnectOptions,
    ) -> Result<Reached, Trouble> {
        let mut worst = Worst::default();
        for sentinel in sentinels {
            match self.by_sentinel(sentinel, login, primary, options).await {
                Ok(reached) => return Ok(reached),
                Err(trouble) => worst.add(trouble),
            }
        }
        Err(worst.trouble(sentinels))
    }

    async fn by_sentinel(
        &self,
        sentinel: &Place,
        login: &Login,
        primary: &str,
        options: ConnectOptions,
    ) -> Result<Reached, Trouble> {
        let node = sentinel.to_string();
        let asked = self.open(sentinel, login, 0, options).await?;
        let place: Option<(String, u16)> = cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(primary)
            .query_async(&mut asked.asking())
            .await
            .map_err(|error| match Trouble::of(&error, &node) {
                trouble if trouble.sort() == Sort::UnknownCommand => {
                    trouble.advising("it is no sentinel; sentinels often listen on port 26379".into())
                }
                trouble => trouble,
            })?;
        let Some((host, port)) = place else {
            return Err(Trouble::new(Sort::Other, &node, format!("it knows no primary `{primary}`"))
                .advising(
                    "`SENTINEL MASTERS` says the names it knows, which come after the `/` of the address"
                        .into(),
                ));
        };
        let reached = self.reach(&Place::Tcp(host, port), options).await?;
        // During a failover, a sentinel may still name the one that was the primary before.
        let role: Result<Value, RedisError> = cmd("ROLE").query_async(&mut reached.asking()).await;
        let role = match role {
            Ok(Value::Array(parts)) => {
                parts.first().and_then(|role| redis::from_redis_value_ref::<String>(role).ok())
            }
            Ok(_) => None,
            Err(error) => match Trouble::of(&error, &reached.place.to_string()) {
                trouble if matches!(trouble.sort(), Sort::NoPermission | Sort::UnknownCommand) => None,
                trouble => return Err(trouble),
            },
        };
        match role {
            Some(role) if role != "master" => {
                let said = format!("the sentinel at {node} still names it as the primary");
                Err(Trouble::new(Sort::ReadOnly, &reached.place.to_string(), said))
            }
            _ => Ok(reached),
        }
    }

    /// Connects to a node that holds data.
    async fn reach(&self, place: &Place, options: ConnectOptions) -> Result<Reached, Trouble> {
        self.open(place, &self.address.login, self.address.database, options).await
    }

    async fn open(
        &self,
        place: &Place,
        login: &Login,
        database: u32,
        options: ConnectOptions,
    ) -> Result<Reached, Trouble> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(options.response_timeout);
        let connect = async {
            let client = Client::open(self.info(place, login, database)?)?;
            client.get_multiplexed_async_connection_with_config(&settings).await
        };
        match connect.await {
            Ok(redis) => {
                Ok(Reached { redis, place: place.clone(), cluster: false, patience: options.connect_timeout })
            }
            Err(error) => {
                let trouble = Trouble::connecting(&error, &place.to_string(), self.tls.is_some());
                Err(if trouble.said().contains("SELECT is not allowed in cluster mode") {
                    trouble.advising("it is a node of a cluster, which has only the database 0".into())
                } else {
                    trouble
                })
            }
        }
    }

    fn info(&self, place: &Place, login: &Login, database: u32) -> Result<ConnectionInfo, RedisError> {
        let address = match (place, &self.tls) {
            (Place::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
            (Place::Tcp(host, port), Some(tls)) => tls.at(host, *port),
            (Place::Tcp(host, port), None) => ConnectionAddr::Tcp(host.clone(), *port),
        };
        let mut settings = RedisConnectionInfo::default()
            .set_db(database.into())
            .set_protocol(self.address.protocol())
            .set_lib_name("ays-host", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &login.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &login.password {
            settings = settings.set_password(password);
        }
        Ok(address.into_connection_info()?.set_redis_settings(settings))
    }
}

/// Of the troubles with several nodes, the one that says most: that a node cannot be reached says least, since any may.
#[derive(Default)]
struct Worst {
    first: Option<Trouble>,
    count: usize,
}

impl Worst {
    fn add(&mut self, trouble: Trouble) {
        self.count += 1;
        match &self.first {
            Some(first) if first.sort() != Sort::Unreachable || trouble.sort() == Sort::Unreachable => {}
            _ => self.first = Some(trouble),
        }
    }

    fn trouble(self, places: &[Place]) -> Trouble {
        match self.first {
            Some(trouble) if trouble.sort() == Sort::Unreachable && self.count > 1 => {
                Trouble::new(Sort::Unreachable, &listed(places), trouble.said().into())
            }
            Some(trouble) => trouble,
            // An address names one place at least.
            None => Trouble::new(Sort::Unreachable, &listed(places), "the address names no host".into()),
        }
    }
}
