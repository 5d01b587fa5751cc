//! A Redis Sentinel for a test.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::RedisServer;

/// A sentinel that watches a primary under the name `mymaster`. It takes the primary for down after half a second, and
/// alone makes a replica the primary. Ends, and its folder goes, when it is dropped.
#[derive(Debug)]
pub struct Sentinel {
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Sentinel {
    /// Starts a sentinel that watches this server, and waits until it knows so many replicas of it.
    pub fn watching(primary: &RedisServer, replicas: usize) -> Self {
        Self::watching_with(primary, replicas, "")
    }

    /// The same, with more lines of sentinel.conf.
    pub fn watching_with(primary: &RedisServer, replicas: usize, lines: &str) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port is free")
            .port();
        let folder = std::env::temp_dir().join(format!("ays-sentinel-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder for temporary files can be written to");
        let file = folder.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile sentinel.log\nunixsocket {}\n\
             sentinel monitor mymaster 127.0.0.1 {} 1\nsentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 3000\n{lines}\n",
            folder.display(),
            folder.join("s").display(),
            primary.port(),
        );
        fs::write(&file, text).expect("the folder for temporary files can be written to");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server runs");
        let sentinel = Self { folder, port, child };
        sentinel.wait_for("its replicas", |primary| primary.contains(&format!("slaves={replicas},")));
        sentinel
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the sentinel has made another server the primary, which listens on this port.
    pub fn wait_for_primary(&self, port: u16) {
        self.wait_for("another primary", |primary| primary.contains(&format!("address=127.0.0.1:{port},")));
    }

    /// Waits for what `INFO` says of the primary, as
    /// `master0:name=mymaster,status=ok,address=127.0.0.1:6379,slaves=1,sentinels=1`.
    fn wait_for(&self, what: &str, is: impl Fn(&str) -> bool) {
        let mut said = String::new();
        for _ in 0..300 {
            let output = Command::new("redis-cli")
                .arg("-s")
                .arg(self.folder.join("s"))
                .args(["INFO", "sentinel"])
                .stderr(Stdio::null())
                .output()
                .expect("redis-cli runs");
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            if said.lines().any(|line| line.starts_with("master0:") && is(line)) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.folder.join("sentinel.log")).unwrap_or_default();
        panic!("the sentinel did not see {what} in 30 s: {said}\n{log}");
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
