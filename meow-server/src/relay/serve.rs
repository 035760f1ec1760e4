//! Taking links, and giving each a task of its own.

use std::sync::Arc;
use std::time::Duration;

use meow_core::transport::{Link, Listener};
use tokio_util::task::TaskTracker;

use super::node::Node;
use crate::engine::Source;

/// After an accept that failed (no file descriptors, say), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the listener of this number until the relay stops; then lets open links end for a bounded time.
pub(super) async fn run(node: Arc<Node>, number: usize, mut listener: Listener) {
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(Some(link)) => take(&node, number, &open, link),
            Ok(None) => {
                tracing::error!("a listener ended by itself; restart the relay to listen there again");
                break;
            }
            Err(e) => {
                tracing::warn!(kind = e.kind().name(), "cannot accept: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    open.close();
    let ended = async {
        super::close(listener).await;
        open.wait().await;
    };
    if tokio::time::timeout(node.limits.stop_time, ended).await.is_err() {
        tracing::warn!(open = open.len(), "not all requests ended in time");
    }
}

fn take(node: &Arc<Node>, listener: usize, open: &TaskTracker, link: Link) {
    // A link beyond the limit is dropped, which closes it: even "busy" would take memory. It counts before anything of it is
    // read, so that who opens links and is silent keeps nobody else out.
    let place = match Source::of(&link.peer, listener) {
        Source::Here => node.links.take_any(Source::Here, 1),
        source => node.links.take(source, 1),
    };
    let Some(place) = place else {
        tracing::debug!("a link was closed: too many are open, in all or of its source");
        return;
    };
    let node = Arc::clone(node);
    open.spawn(async move {
        super::exchange::run(&node, listener, link).await;
        drop(place);
    });
}
