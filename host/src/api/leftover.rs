//! What is left of a request's body when it is answered. Who still sends it does not read the answer, and takes the end of
//! the connection for a host that is not there.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};

use crate::clock;

/// Who asks first waits no longer than that, and sends it unasked.
const ASKING: Duration = Duration::from_millis(500);
/// How much of it is read, in bytes, and for how long.
const MOST: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that can be read on when who read it has lost interest.
#[derive(Clone)]
struct Shared(Arc<Mutex<Reading>>);

struct Reading {
    body: Body,
    begun: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the rest, and forgets it.
    async fn drain(mut self) {
        let mut left = MOST;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            let read = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(read) {
                Some(still) => left = still,
                None => return,
            }
        }
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut reading = self.lock();
        reading.begun = true;
        if reading.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut reading.body).poll_frame(cx));
        reading.ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let reading = self.lock();
        reading.ended || reading.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

/// Answers once what is left of the body has come.
pub(super) async fn read(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let asks_first = head.headers.contains_key(header::EXPECT);
    let shared = Shared(Arc::new(Mutex::new(Reading { body, begun: false, ended: false })));
    let came = clock::instant();
    let response = next.run(Request::from_parts(head, Body::new(shared.clone()))).await;
    // Who waits for `100 Continue` has sent nothing, and reads the answer instead.
    let waits = asks_first && !shared.lock().begun && came.elapsed() < ASKING;
    if !waits && !shared.is_end_stream() {
        tokio::select! {
            () = shared.drain() => {}
            () = clock::sleep(PATIENCE) => {}
        }
    }
    response
}
