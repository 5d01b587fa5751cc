//! What other hosts and doors tell this host of: a list wakes it, and the writer reads the rest.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Shared, requests::Request, timer};

/// Waits for notices, and has the writer read them.
pub(super) async fn listen(shared: Arc<Shared>, requests: mpsc::UnboundedSender<Request>) {
    let list = shared.keys.key(&format!("wake:{}", shared.host));
    let mut failed = false;
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            waited = shared.link.wait(&list) => match waited {
                Ok(()) => failed = false,
                // The wake-up may have been lost with the connection, so it looks in any case.
                Err(trouble) => {
                    if failed {
                        shared.trouble(&trouble);
                        timer::sleep(Duration::from_millis(100)).await;
                    }
                    failed = true;
                }
            },
        }
        if requests.send(Request::Look).is_err() {
            return;
        }
    }
}
