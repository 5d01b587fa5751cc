//! A real Redis server, to compare the model with.

use ays_redis_model::Reply;
use redis::{Parser, Value};
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server without data, and a connection to it. Ends with the test.
pub(crate) struct Server {
    child: Child,
    stream: BufReader<UnixStream>,
    /// Keeps the folder of the socket.
    _folder: tempfile::TempDir,
    /// Whether it is of the version whose wording and number formats the model has.
    pub(crate) is_as_modelled: bool,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        let socket = folder.path().join("socket");
        let child = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no", "--port", "0", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("the tests need redis-server in the PATH");
        let stream = (0..500)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(10));
                UnixStream::connect(&socket).ok()
            })
            .expect("redis-server listens within five seconds");
        let mut server =
            Self { child, stream: BufReader::new(stream), _folder: folder, is_as_modelled: false };
        let info = server.command(&[b"INFO", b"server"]);
        let Reply::Bulk(info) = info else { panic!("INFO replied {info:?}") };
        let info = String::from_utf8(info).expect("INFO is text");
        let version =
            info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("it has a version");
        println!("compared with Redis {version}");
        let major: u32 =
            version.split('.').next().and_then(|major| major.parse().ok()).expect("a number first");
        assert!(
            major >= 7,
            "the model is of Redis 7.0; redis-server in the PATH is {version}, which lacks commands"
        );
        server.is_as_modelled = version.starts_with("7.0.");
        server
    }

    pub(crate) fn command(&mut self, args: &[&[u8]]) -> Reply {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
        self.commands(&[args]).remove(0)
    }

    /// Sends many commands at once.
    pub(crate) fn commands(&mut self, all: &[Vec<Vec<u8>>]) -> Vec<Reply> {
        let mut sent = Vec::new();
        for args in all {
            let mut command = redis::Cmd::new();
            command.arg(args);
            sent.extend(command.get_packed_command());
        }
        self.stream.get_mut().write_all(&sent).expect("the server reads");
        let mut parser = Parser::new();
        all.iter().map(|_| reply(parser.parse_value(&mut self.stream).expect("the server replies"))).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::Array(items) => Reply::Array(items.into_iter().map(reply).collect()),
        Value::SimpleString(status) => Reply::Status(status),
        Value::Okay => Reply::Status("OK".to_owned()),
        Value::ServerError(error) => {
            let details = error.details().map(|details| format!(" {details}")).unwrap_or_default();
            Reply::Error(format!("{}{details}", error.code()))
        }
        other => panic!("a reply of the protocol's version 2 is no {other:?}"),
    }
}
