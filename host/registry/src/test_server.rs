//! A real registry for tests.

// Test support says what went wrong by panicking, and waits.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, clippy::disallowed_methods)]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ays_core::Digest;
use tempfile::TempDir;

/// A registry with nothing in it, on a free port of 127.0.0.1, in a folder of its own. Ends, and its folder goes, when it
/// is dropped.
#[derive(Debug)]
pub struct RegistryServer {
    folder: TempDir,
    port: u16,
    child: Child,
}

/// The line of a password file: `user` with the password `secret`.
const HTPASSWD: &str = "user:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

impl RegistryServer {
    /// Starts one that everybody may push to.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one that lets in nobody but `user` with the password `secret`.
    pub fn start_locked() -> Self {
        Self::start_with("auth:\n  htpasswd:\n    realm: tests\n    path: FOLDER/htpasswd\n")
    }

    fn start_with(more: &str) -> Self {
        let program = program();
        // Between finding a free port and the server's taking it, somebody else may: then another one is tried.
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("cannot make a folder");
            let port = TcpListener::bind(("127.0.0.1", 0))
                .and_then(|listener| listener.local_addr())
                .expect("there is a free port on 127.0.0.1")
                .port();
            let root = folder.path().display().to_string();
            let config = format!(
                "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\n\
                 http:\n  addr: 127.0.0.1:{port}\n{}",
                more.replace("FOLDER", &root)
            );
            fs::write(folder.path().join("htpasswd"), HTPASSWD).expect("cannot write");
            fs::write(folder.path().join("config.yml"), config).expect("cannot write");
            let log = fs::File::create(folder.path().join("log")).expect("cannot write");
            let mut child = Command::new(&program)
                .arg("serve")
                .arg(folder.path().join("config.yml"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| {
                    panic!(
                        "cannot run {} ({error}): these tests need a registry; `./dev registry` fetches it where \
                         there is apt-get, and elsewhere `docker-registry` or `registry` must be on the PATH",
                        program.display()
                    )
                });
            for _ in 0..1000 {
                if child.try_wait().expect("cannot wait for it").is_some() {
                    break;
                }
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { folder, port, child };
                }
                thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(log.contains("address already in use"), "the registry did not start; its log:\n{log}");
        }
        panic!("no port stayed free for the registry");
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The file in which it keeps the content with this digest.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let digest = digest.to_string();
        let hex = digest.trim_start_matches("sha256:");
        let (first, _) = hex.split_at(2);
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(first).join(hex).join("data")
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one under target/tools, where `tests/registry` puts it, or one of the machine's.
fn program() -> PathBuf {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in host/registry");
    let own = root.join("target/tools/docker-registry/docker-registry");
    if own.exists() {
        return own;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ["docker-registry", "registry"]
        .into_iter()
        .find(|name| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    found.unwrap_or("docker-registry").into()
}
