//! Bodies that keep to limits.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime_wasi_http::Error;

use crate::Clock;

/// What a body is to keep to, and what it holds until it is done.
pub(super) struct Bounds {
    /// The bytes that may still come.
    pub(super) left: u64,
    /// What it is when more come.
    pub(super) too_large: fn(Option<u64>) -> Error,
    /// How long the next bytes may take; none: for ever.
    pub(super) patience: Option<(Arc<dyn Clock>, Duration)>,
    /// Freed when it is done.
    pub(super) places: Vec<Arc<OwnedSemaphorePermit>>,
}

/// A body that keeps to its bounds.
pub(super) struct Bounded<B> {
    inner: B,
    most: u64,
    bounds: Bounds,
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<B> Bounded<B> {
    pub(super) fn new(inner: B, bounds: Bounds) -> Self {
        Self { inner, most: bounds.left, bounds, timer: None }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.bounds.left.checked_sub(bytes) {
                    Some(left) => {
                        this.bounds.left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => Poll::Ready(Some(Err((this.bounds.too_large)(Some(this.most))))),
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                this.bounds.places.clear();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some((clock, patience)) = &this.bounds.patience else { return Poll::Pending };
                let timer = this.timer.get_or_insert_with(|| clock.sleep(*patience));
                match timer.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
