//! What is done by the clock: turning keys, deleting what has expired.

use std::sync::Arc;

use super::node::Node;

/// Runs until the relay stops.
pub(super) async fn run(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = node.stopping.cancelled() => return,
            () = tokio::time::sleep(node.limits.upkeep) => {}
        }
        let turning = Arc::clone(&node);
        // Turning syncs a file.
        match tokio::task::spawn_blocking(move || turning.turn_keys()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                let kind = e.kind().name();
                tracing::error!(kind, "the sealing keys could not turn, the old ones stay in force: {e}");
            }
            Err(e) => tracing::error!("turning the sealing keys was cut short: {e}"),
        }
        node.forget_tags().await;
        node.sessions.expire(node.clock.elapsed());
        expire(&node).await;
    }
}

/// Deletes in small steps, so that deposits get through between them.
async fn expire(node: &Node) {
    let mut all = 0;
    while !node.stopping.is_cancelled() {
        match node.mail.writer.expire(node.mail.now()).await {
            Ok(0) => break,
            Ok(rows) => all += rows,
            Err(e) => {
                tracing::error!(kind = e.kind().name(), "what has expired could not be deleted: {e}");
                break;
            }
        }
    }
    if all > 0 {
        tracing::info!(rows = all, "deleted what has expired");
    }
}
