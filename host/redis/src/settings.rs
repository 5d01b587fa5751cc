//! What of a server's configuration endangers the data.

use std::collections::{BTreeMap, BTreeSet};

use redis::{RedisError, Value, cmd};

use crate::{
    address::Address,
    server::Connection,
    trouble::{Sort, Trouble},
};

/// What a server's configuration says that matters for data that must not be lost. What the server does not tell this
/// user is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `redis` or `valkey`, or what else it calls itself.
    pub server: Option<String>,
    /// As `7.2.4`.
    pub version: Option<String>,
    /// What is done when `maxmemory` is reached, as `noeviction`.
    pub maxmemory_policy: Option<String>,
    /// How much memory the server may use, in bytes; 0 is without limit.
    pub maxmemory: Option<u64>,
    /// Whether every change is written to a file.
    pub appendonly: Option<bool>,
    /// When that file is written through to the disk: `always`, `everysec` or `no`.
    pub appendfsync: Option<String>,
    /// How many replicas follow it now.
    pub replicas: Option<u64>,
    /// Whether it has a file that its configuration can be written to, as far as is known.
    has_file: bool,
    node: String,
}

/// Something in a server's configuration that endangers data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is, and what may happen.
    pub what: String,
    /// The command that makes it right, for a shell. It has no password: redis-cli asks for it.
    pub fix: String,
}

/// Reads a server's settings, by `CONFIG GET` and `INFO` as far as they are permitted.
///
/// # Errors
/// The connection has ended, or the server refuses for another reason than that the user may not ask.
pub async fn settings(connection: &mut Connection) -> Result<Settings, Trouble> {
    let node = connection.node.clone();
    let mut config = BTreeMap::new();
    for name in ["maxmemory-policy", "maxmemory", "appendonly", "appendfsync"] {
        let answer: Result<BTreeMap<String, String>, RedisError> =
            cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection.redis).await;
        match permitted(answer, &node)? {
            Some(found) => config.extend(found),
            None => break,
        }
    }
    let answer: Result<String, RedisError> = cmd("INFO").query_async(&mut connection.redis).await;
    let info = permitted(answer, &node)?.unwrap_or_default();
    let info: BTreeMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let said = |name: &str| info.get(name).map(|value| value.to_string());
    // Valkey still says which version of Redis it behaves as.
    let valkey = said("valkey_version");
    Ok(Settings {
        server: said("server_name")
            .or(if valkey.is_some() { Some("valkey".into()) } else { None })
            .or_else(|| info.contains_key("redis_version").then(|| "redis".into())),
        version: valkey.or_else(|| said("redis_version")),
        maxmemory_policy: config.get("maxmemory-policy").cloned().or_else(|| said("maxmemory_policy")),
        maxmemory: config
            .get("maxmemory")
            .cloned()
            .or_else(|| said("maxmemory"))
            .and_then(|bytes| bytes.parse().ok()),
        appendonly: config
            .get("appendonly")
            .map(|value| value == "yes")
            .or_else(|| said("aof_enabled").map(|value| value == "1")),
        appendfsync: config.get("appendfsync").cloned(),
        replicas: said("connected_slaves").and_then(|count| count.parse().ok()),
        has_file: said("config_file").is_none_or(|file| !file.is_empty()),
        node,
    })
}

/// None where the user may not ask, or the server knows no such question.
fn permitted<T>(answer: Result<T, RedisError>, node: &str) -> Result<Option<T>, Trouble> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => {
            let trouble = Trouble::of(&error, node);
            match trouble.sort() {
                Sort::NoPermission | Sort::UnknownCommand | Sort::Other
                    if !trouble.needs_new_connection() =>
                {
                    Ok(None)
                }
                _ => Err(trouble),
            }
        }
    }
}

/// Which of these commands the server knows, whatever its version. Names are compared without case.
///
/// # Errors
/// The server does not tell, or the connection has ended.
pub async fn commands(connection: &mut Connection, names: &[&str]) -> Result<BTreeSet<String>, Trouble> {
    let answers: Vec<Value> = cmd("COMMAND")
        .arg("INFO")
        .arg(names)
        .query_async(&mut connection.redis)
        .await
        .map_err(|error| Trouble::of(&error, &connection.node))?;
    let known = |answer: &Value| matches!(answer, Value::Array(parts) if !parts.is_empty());
    Ok(names
        .iter()
        .zip(answers)
        .filter(|(_, answer)| known(answer))
        .map(|(name, _)| name.to_string())
        .collect())
}

impl Settings {
    /// What endangers the data, the worst first, with the commands that make it right.
    pub fn warnings(&self, address: &Address) -> Vec<Warning> {
        let options = address.redis_cli_options_at(&self.node);
        let set = |setting: &str| {
            let set = format!("redis-cli {options} CONFIG SET {setting}");
            // Without a file the setting lasts until the server ends.
            if self.has_file { format!("{set} && redis-cli {options} CONFIG REWRITE") } else { set }
        };
        let mut warnings = Vec::new();
        match self.maxmemory_policy.as_deref() {
            Some("noeviction") => {}
            Some(policy) => {
                let when = match self.maxmemory {
                    Some(0) => "should it be given a `maxmemory` that is reached",
                    _ => "when its `maxmemory` is reached",
                };
                warnings.push(Warning {
                    what: format!("its maxmemory-policy is {policy}: {when}, it deletes keys, and what waits in them is lost"),
                    fix: set("maxmemory-policy noeviction"),
                });
            }
            None => warnings.push(Warning {
                what: "it does not tell this user its maxmemory-policy: if that is not noeviction, it may delete what \
                       waits in it"
                    .into(),
                fix: format!("redis-cli {options} ACL SETUSER USER +config|get +info"),
            }),
        }
        match (self.appendonly, self.appendfsync.as_deref()) {
            (Some(false), _) => warnings.push(Warning {
                what: "its appendonly is no: when it is restarted, all is lost that came since its last snapshot, if it \
                       makes any"
                    .into(),
                fix: format!("{} && {}", set("appendonly yes"), set("appendfsync always")),
            }),
            (Some(true), Some("everysec")) => warnings.push(Warning {
                what: "its appendfsync is everysec: when its computer fails, the last second or two are lost, though they \
                       were reported as accepted"
                    .into(),
                fix: set("appendfsync always"),
            }),
            (Some(true), Some("no")) => warnings.push(Warning {
                what: "its appendfsync is no: when its computer fails, the last half minute or more is lost, though it was \
                       reported as accepted"
                    .into(),
                fix: set("appendfsync always"),
            }),
            _ => {}
        }
        if !self.has_file {
            for warning in &mut warnings {
                warning.what += " (it was started without a configuration file: the command below lasts until it ends, and \
                                 the settings have to be given where it is started, too)";
            }
        }
        warnings
    }
}
