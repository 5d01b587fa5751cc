//! Real Redis servers for tests.

// Test support says what went wrong by panicking, and waits.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

mod cluster;
mod sentinel;
mod tls;

pub use cluster::Cluster;
pub use sentinel::Sentinel;
pub use tls::{certificates_for, start_tls};

/// Which server. All of them take the same commands and options here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// The `redis-server` of this machine.
    Installed,
    /// The newest one that is tested: Valkey 9.1. It calls itself Redis 7.2.4, as all Valkey servers do.
    Newer,
    /// The oldest one that is tested: Redis 6.2. There is none for Linux on ARM.
    Older,
}

impl Flavour {
    /// The program to run.
    fn program(self) -> PathBuf {
        let folder = match self {
            Self::Installed => return "redis-server".into(),
            Self::Newer => "newer-redis",
            Self::Older => "older-redis",
        };
        // Where `tests/newer-redis` puts it, whatever cargo's target directory is.
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in host/redis");
        root.join("target/tools").join(folder).join("redis-server")
    }

    /// How to come by it.
    fn remedy(self) -> &'static str {
        match self {
            Self::Installed => {
                "`apt-get install redis-server`, or the package of that name elsewhere, installs it"
            }
            Self::Newer | Self::Older => "`./dev redis`, or tests/newer-redis alone, installs it",
        }
    }
}

/// A redis-server with an empty database, on a free port and on a socket, in a folder of its own. Ends, and its folder
/// goes, when it is dropped.
///
/// It writes every change to its disk before it answers (`appendfsync always`), so what it has said to have survives
/// [`kill9`](Self::kill9).
///
/// Every method panics with the server's log when the server does not do what it should: this is for tests only.
#[derive(Debug)]
pub struct RedisServer {
    flavour: Flavour,
    folder: PathBuf,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with options of redis.conf, as `["--maxmemory", "4mb"]`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_flavour(Flavour::Installed, options)
    }

    /// Starts the newest server that is tested, with options of redis.conf.
    pub fn start_newer(options: &[&str]) -> Self {
        Self::start_flavour(Flavour::Newer, options)
    }

    /// Starts a server of this flavour, with options of redis.conf.
    pub fn start_flavour(flavour: Flavour, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ays-redis-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
        let options = options.iter().map(ToString::to_string).collect();
        let mut server = Self { flavour, folder, port: 0, options, child: None };
        // Between finding a free port and the server's taking it, somebody else may: then another one is tried.
        for _ in 0..20 {
            server.port = TcpListener::bind(("127.0.0.1", 0))
                .and_then(|listener| listener.local_addr())
                .unwrap_or_else(|error| panic!("no free port on 127.0.0.1: {error}"))
                .port();
            if server.try_launch() {
                return server;
            }
        }
        panic!("redis-server did not start; its log:\n{}", server.log());
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `redis+unix:///PATH`
    pub fn unix_url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// Ends the server in order. Its data stay.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGTERM, which the standard library cannot send.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// Kills the server at once, as a power failure would. Its data stay.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the server again, with the same data, on the same port; ends it first if it runs.
    pub fn restart(&mut self) {
        self.stop();
        for _ in 0..50 {
            if self.try_launch() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("redis-server did not start again on port {}; its log:\n{}", self.port, self.log());
    }

    /// Runs many commands, one on each line, as redis-cli reads them.
    pub fn pipe(&self, commands: &str) {
        use std::io::Write as _;
        let mut child = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-cli runs");
        child.stdin.take().expect("it is piped").write_all(commands.as_bytes()).expect("redis-cli reads");
        assert!(child.wait().expect("redis-cli ends").success(), "redis-cli failed");
    }

    /// Runs a command with redis-cli and returns what it prints: an error, too. Options of redis-cli may come first, as
    /// `["-a", PASSWORD, "PING"]`.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket())
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("redis.log")).unwrap_or_default()
    }

    /// Says whether the server came up; if not, it has ended.
    fn try_launch(&mut self) -> bool {
        let program = self.flavour.program();
        let child = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(&self.folder)
            .args(["--logfile", "redis.log", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => panic!(
                "this test needs a real Redis, and there is no {}: {}",
                program.display(),
                self.flavour.remedy()
            ),
            Err(error) => panic!("cannot start redis-server: {error}"),
        };
        for _ in 0..1000 {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            if self.answers() {
                self.child = Some(child);
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("redis-server started but did not answer within 10 s; its log:\n{}", self.log());
    }

    /// Whether the server answers a ping, be it by asking for a password. Asked on its socket: on the port, another
    /// server might answer.
    fn answers(&self) -> bool {
        let answer = || -> std::io::Result<[u8; 5]> {
            let mut connection = UnixStream::connect(self.socket())?;
            connection.set_read_timeout(Some(Duration::from_secs(5)))?;
            connection.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            connection.read_exact(&mut answer)?;
            Ok(answer)
        };
        answer().is_ok_and(|answer| answer == *b"+PONG" || answer == *b"-NOAU")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill9();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flavour_runs_scripts_and_keeps_what_it_acknowledged() {
        let (newer, older) = ("valkey_version:9.", "redis_version:6.2.");
        for (flavour, version) in
            [(Flavour::Installed, "redis_version:"), (Flavour::Newer, newer), (Flavour::Older, older)]
        {
            // Not made for every machine.
            if flavour == Flavour::Older && !flavour.program().is_file() {
                continue;
            }
            let mut server = RedisServer::start_flavour(flavour, &[]);
            assert!(server.cli(&["INFO", "server"]).contains(version), "{flavour:?}");
            assert_eq!(
                server.cli(&["EVAL", "return redis.call('RPUSH', KEYS[1], ARGV[1])", "1", "list", "a"]),
                "1"
            );
            server.kill9();
            server.restart();
            assert_eq!(server.cli(&["BLPOP", "list", "1"]), "list\na", "{flavour:?}");
        }
    }
}
