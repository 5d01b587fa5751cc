//! Against a registry that means harm.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use ays_registry::{Access, Reference, RegistryError, pull};

/// Answers every request for a manifest without end. Returns once the client has gone.
fn answer(mut stream: TcpStream, sent: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if !head.contains("/manifests/") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        // It ends some time, so that a client that reads all of it fails a test, and not the machine.
        for _ in 0..1024 {
            stream.write_all(b"10000\r\n")?;
            stream.write_all(&[b' '; 1 << 16])?;
            stream.write_all(b"\r\n")?;
            sent.fetch_add(1 << 16, SeqCst);
        }
        stream.write_all(b"0\r\n\r\n")?;
    }
}

#[tokio::test]
async fn no_more_of_a_manifest_is_read_than_one_may_have() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = counted.clone();
            thread::spawn(move || answer(stream, &counted));
        }
    });
    let from: Reference = format!("{address}/actors/node:1").parse().unwrap();
    let error = pull(&from, &Access::default()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotAComponent { .. }), "{error}");
    assert!(error.to_string().contains("its manifest has more than 4194304 bytes"), "{error}");
    // What is on its way is in the machine's buffers.
    assert!(sent.load(SeqCst) < 32 << 20, "{} bytes were taken", sent.load(SeqCst));
}
