//! What stands between this host and Redis, in words for a person.

use std::{error::Error as _, fmt, io, sync::Arc};

use redis::{ErrorKind, RedisError, aio::MultiplexedConnection, cmd};

/// What sort of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// No connection can be made: nobody listens there, the name is unknown, or nobody answers.
    Unreachable,
    /// A command was not answered in time. Whether it was carried out is unknown.
    Silent,
    /// A connection has ended. Whether the last commands were carried out is unknown.
    Disconnected,
    /// TLS was refused by this side or the other.
    Tls,
    /// A password is needed, and none was given.
    AuthRequired,
    /// User or password are wrong.
    WrongPassword,
    /// The user may not run a command or use a key.
    NoPermission,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// The server is a replica, which takes no writes.
    ReadOnly,
    /// The server has as many clients as it takes.
    TooManyClients,
    /// The server reads its data from the disk after a start.
    Loading,
    /// The server runs somebody's script for long.
    Busy,
    /// The server cannot write to its disk.
    CannotSave,
    /// Fewer replicas follow than `min-replicas-to-write` asks for.
    TooFewReplicas,
    /// Another node of a cluster serves the key, or is about to.
    Moved,
    /// A cluster does not serve the key at present.
    ClusterDown,
    /// The server does not have a script.
    NoScript,
    /// The server does not know a command.
    UnknownCommand,
    /// A key holds another type than the one that is needed.
    WrongType,
    /// None of these.
    Other,
}

/// What went wrong with Redis, where, and what to do about it. Written out it is a clause without a full stop, and has no
/// password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    sort: Sort,
    node: String,
    said: String,
    advice: String,
    renew: bool,
}

impl Trouble {
    /// What a node's error means. `node` is where it came from, as in [`Connection::node`](crate::Connection::node).
    pub fn of(error: &RedisError, node: &str) -> Self {
        let sort = Sort::of(error);
        let mut trouble = Self::new(sort, node, said(error));
        if sort == Sort::Tls {
            trouble.advice = tls_advice(error).into();
        }
        trouble.renew |= error.kind() == ErrorKind::Parse || error.is_unrecoverable_error();
        trouble
    }

    /// What an error means that came while the connection was being made.
    pub(crate) fn connecting(error: &RedisError, node: &str, by_tls: bool) -> Self {
        let mut trouble = Self::of(error, node);
        match trouble.sort {
            Sort::Silent => {
                let trouble = Self::new(Sort::Unreachable, node, "it does not answer".into());
                if by_tls {
                    // A server without TLS waits for the end of what it takes for a command.
                    trouble.advising(
                        "does it run, is the address right, and does it speak TLS on this port?".into(),
                    )
                } else {
                    trouble
                }
            }
            Sort::Disconnected => {
                trouble.advice =
                    "it may speak only TLS (`rediss://`), or have as many clients as it takes".into();
                trouble
            }
            _ => trouble,
        }
    }

    pub(crate) fn new(sort: Sort, node: &str, said: String) -> Self {
        let advice = sort.advice(&said);
        Self { sort, node: node.into(), said, advice, renew: sort.breaks_connection() }
    }

    /// With other advice.
    pub(crate) fn advising(self, advice: String) -> Self {
        Self { advice, ..self }
    }

    /// What sort it is.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// What sort it is, as one word in `snake_case`: for logs and counters.
    pub fn kind(&self) -> &'static str {
        self.sort.name()
    }

    /// Where it came from.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What Redis or the operating system said.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Whether it may pass by itself, or by what an operator does to Redis, so that trying again is worth it.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self.sort,
            Sort::Tls
                | Sort::AuthRequired
                | Sort::WrongPassword
                | Sort::NoPermission
                | Sort::UnknownCommand
                | Sort::WrongType
                | Sort::Other
        )
    }

    /// Whether the connection it came from is of no use any more.
    pub fn needs_new_connection(&self) -> bool {
        self.renew
    }

    /// Whether commands that were under way may or may not have been carried out.
    pub fn is_uncertain(&self) -> bool {
        matches!(self.sort, Sort::Silent | Sort::Disconnected)
    }

    /// With the memory that the server uses and may use, where that is the trouble and the server tells.
    #[must_use]
    pub async fn measured(self, connection: &mut MultiplexedConnection) -> Self {
        if self.sort != Sort::OutOfMemory {
            return self;
        }
        let info: Result<String, _> = cmd("INFO").arg("memory").query_async(connection).await;
        let number = |name: &str| {
            let info = info.as_ref().ok()?;
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok())
        };
        match (number("used_memory"), number("maxmemory")) {
            (Some(used), Some(most)) => {
                let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
                Self { said: format!("{} of {} used", mib(used), mib(most)), ..self }
            }
            _ => self,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sort, node, said, advice, .. } = self;
        write!(f, "Redis at {node} {}", sort.sentence())?;
        if !said.is_empty() {
            write!(f, " ({said})")?;
        }
        if !advice.is_empty() {
            write!(f, ": {advice}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Trouble {}

impl Sort {
    /// As one word in `snake_case`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Disconnected => "disconnected",
            Self::Tls => "tls",
            Self::AuthRequired => "auth_required",
            Self::WrongPassword => "wrong_password",
            Self::NoPermission => "no_permission",
            Self::OutOfMemory => "out_of_memory",
            Self::ReadOnly => "read_only",
            Self::TooManyClients => "too_many_clients",
            Self::Loading => "loading",
            Self::Busy => "busy",
            Self::CannotSave => "cannot_save",
            Self::TooFewReplicas => "too_few_replicas",
            Self::Moved => "moved",
            Self::ClusterDown => "cluster_down",
            Self::NoScript => "no_script",
            Self::UnknownCommand => "unknown_command",
            Self::WrongType => "wrong_type",
            Self::Other => "other",
        }
    }

    fn of(error: &RedisError) -> Self {
        if is_tls(error) {
            return Self::Tls;
        }
        if error.is_timeout() {
            return Self::Silent;
        }
        if error.kind() == ErrorKind::Io {
            return match io_error(error).map(io::Error::kind) {
                Some(
                    io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::NotConnected,
                )
                | None => Self::Disconnected,
                Some(_) => Self::Unreachable,
            };
        }
        let text = error.to_string();
        if let Some(sort) = error.code().and_then(Self::of_code) {
            return sort;
        }
        // In the replies to AUTH and SELECT, in transactions, in pipelines, and in what scripts say before Redis 7, the
        // code stands somewhere in the text.
        let inner = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase()))
            .find_map(Self::of_code);
        if let Some(sort) = inner {
            return sort;
        }
        let lower = text.to_ascii_lowercase();
        // redis drops the code from the replies to AUTH and SELECT, and Redis does for what a script's user may not do.
        let texts = [
            ("unknown command", Self::UnknownCommand),
            ("unknown redis command", Self::UnknownCommand),
            ("unknown subcommand", Self::UnknownCommand),
            ("authentication required", Self::AuthRequired),
            ("no permissions to", Self::NoPermission),
            ("user executing the script can't", Self::NoPermission),
            ("loading the dataset", Self::Loading),
            ("busy running a script", Self::Busy),
            ("max number of clients", Self::TooManyClients),
        ];
        match texts.iter().find(|(part, _)| lower.contains(part)) {
            Some((_, sort)) => *sort,
            None if error.kind() == ErrorKind::AuthenticationFailed => Self::WrongPassword,
            None => Self::Other,
        }
    }

    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "NOAUTH" => Self::AuthRequired,
            "WRONGPASS" => Self::WrongPassword,
            "NOPERM" => Self::NoPermission,
            "OOM" => Self::OutOfMemory,
            "READONLY" | "MASTERDOWN" => Self::ReadOnly,
            "LOADING" => Self::Loading,
            "BUSY" => Self::Busy,
            "MISCONF" => Self::CannotSave,
            "NOREPLICAS" => Self::TooFewReplicas,
            "MOVED" | "ASK" | "TRYAGAIN" => Self::Moved,
            "CLUSTERDOWN" => Self::ClusterDown,
            "NOSCRIPT" => Self::NoScript,
            "WRONGTYPE" => Self::WrongType,
            _ => return None,
        })
    }

    fn breaks_connection(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Silent
                | Self::Disconnected
                | Self::Tls
                | Self::AuthRequired
                | Self::WrongPassword
                | Self::TooManyClients
                | Self::ReadOnly
                | Self::Moved
                | Self::ClusterDown
        )
    }

    /// What comes after `Redis at NODE`.
    fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "cannot be reached",
            Self::Silent => "does not answer in time",
            Self::Disconnected => "has closed the connection",
            Self::Tls => "and this host do not agree on TLS",
            Self::AuthRequired => "asks for a password",
            Self::WrongPassword => "refuses the user or the password",
            Self::NoPermission => "does not let this user do what is needed",
            Self::OutOfMemory => "is out of memory and takes no writes",
            Self::ReadOnly => "is a replica, which takes no writes",
            Self::TooManyClients => "has as many clients as it takes",
            Self::Loading => "is loading its data",
            Self::Busy => "is busy with somebody's script",
            Self::CannotSave => "cannot write to its disk, and so takes no writes",
            Self::TooFewReplicas => "has too few replicas, and so takes no writes",
            Self::Moved => "does not serve these keys any longer",
            Self::ClusterDown => "is in a cluster that does not serve these keys at present",
            Self::NoScript => "has lost a script",
            Self::UnknownCommand => "does not know a command that is needed",
            Self::WrongType => "holds a key of another type than is needed",
            Self::Other => "refuses",
        }
    }

    fn advice(self, said: &str) -> String {
        match self {
            Self::Unreachable => "does it run, and is the address right?",
            Self::Silent => "it may be overloaded, stopped, or cut off",
            Self::Disconnected | Self::Tls | Self::Loading | Self::Other => "",
            Self::TooManyClients => "`maxclients` says how many; `CLIENT LIST` says who they are",
            Self::AuthRequired => "the address takes USER:PASSWORD@ or :PASSWORD@ before the host",
            Self::WrongPassword => {
                "the address takes USER:PASSWORD@ or :PASSWORD@ before the host, with `#`, `@`, `/` and `%` \
                 percent-encoded"
            }
            Self::NoPermission => return permission_advice(said),
            Self::OutOfMemory => {
                "`CONFIG SET maxmemory` gives it more, or it needs less in it; `INFO memory` says what it uses"
            }
            Self::ReadOnly => {
                "during a failover this passes; otherwise the address needs to name the primary, or a cluster or \
                 sentinels that know it"
            }
            Self::Busy => "`SCRIPT KILL` or `FUNCTION KILL` ends it if it has written nothing yet",
            Self::CannotSave => "its log says why; often the disk is full",
            Self::TooFewReplicas => "`min-replicas-to-write` asks for more than follow it; `INFO replication` says which do",
            Self::Moved => "a new connection finds the node that does",
            Self::ClusterDown => "`CLUSTER INFO` and `CLUSTER NODES` say what it lacks",
            Self::NoScript => "it gets it again with the next call",
            Self::UnknownCommand => "Redis 6.2 or Valkey 7.2, or newer, is needed, and commands may have been renamed",
            Self::WrongType => "something else uses the same key; `TYPE KEY` says what it holds",
        }
        .into()
    }
}

/// What to permit, as far as the server said what is missing: `User me has no permissions to run the 'get' command`, `No
/// permissions to access a key`.
fn permission_advice(said: &str) -> String {
    let user =
        said.split_once("User ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("USER");
    let command =
        said.split_once("run the '").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
    let right = match command {
        Some(command) => format!("+{command}"),
        None if said.contains("channel") => "&PATTERN".into(),
        None if said.contains("key") => "~PATTERN".into(),
        None => "+COMMAND ~PATTERN".into(),
    };
    format!("`ACL SETUSER {user} {right}` permits it")
}

/// What the server or the system said, without what the client wraps around it.
fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) if code != "ERR" => format!("{code} {detail}"),
        (_, Some(detail)) => detail.into(),
        _ => error.to_string(),
    }
}

fn io_error(error: &RedisError) -> Option<&io::Error> {
    let source = error.source()?;
    let source = source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    source.downcast_ref()
}

fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    if let Some(inner) = io_error(error) {
        return inner.get_ref()?.downcast_ref();
    }
    let source = error.source()?;
    source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?.downcast_ref()
}

fn is_tls(error: &RedisError) -> bool {
    // After the handshake only the text of an error gets through the connection's task.
    tls_error(error).is_some() || error.to_string().contains("received fatal alert")
}

fn tls_advice(error: &RedisError) -> &'static str {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    let text = error.to_string();
    match tls_error(error) {
        Some(Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => {
            "the server's certificate is not signed by an authority that is trusted here; `?tls-ca=FILE` names the right \
             one"
        }
        Some(Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. })) => {
            "the server's certificate is for other names; the address needs to use one of them"
        }
        Some(Error::InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        )) => "the server's certificate is out of date, or a clock is wrong",
        Some(Error::InvalidMessage(_)) => {
            "the server does not speak TLS on this port; `redis://` is without TLS, and `tls-port` of redis.conf is with"
        }
        Some(Error::AlertReceived(Alert::CertificateRequired)) => WANTS_CERTIFICATE,
        _ if text.contains("CertificateRequired") => WANTS_CERTIFICATE,
        Some(Error::AlertReceived(_)) => REFUSES_CERTIFICATE,
        _ if text.contains("received fatal alert") => REFUSES_CERTIFICATE,
        _ => "",
    }
}

const WANTS_CERTIFICATE: &str = "the server asks for a certificate of this side: `?tls-cert=FILE&tls-key=FILE`, signed by an authority it trusts";
const REFUSES_CERTIFICATE: &str = "the server does not accept what this side shows: `tls-cert` needs to be signed by an authority it trusts";
