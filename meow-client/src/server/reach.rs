//! One packet there, one packet back, over whichever URL of a server works.

use std::time::Duration;

use bytes::Bytes;
use meow_core::transport::Endpoint;
use meow_core::{Error, ErrorKind, Result, Retry};
use meow_transport::Transports;

/// Sends one packet to a server and waits for the answer. Where the link proves which server it leads to, nothing is
/// sent to another one.
///
/// # Errors
/// Kind `WrongPeer` when the link leads to another server than `server`, a fingerprint.
/// Kind `Unreachable` when nothing answers within `patience`; others as the transport says.
///
/// # Cancel safety
/// Dropping the future closes the link; the server may or may not have acted.
pub(crate) async fn exchange(
    transports: &Transports,
    to: &Endpoint,
    server: &[u8; 32],
    packet: &[u8],
    patience: Duration,
) -> Result<Bytes> {
    let talk = async {
        let mut link = transports.connect(to).await?;
        if link.peer.server.is_some_and(|proved| proved != *server) {
            return Err(Error::new(
                ErrorKind::WrongPeer,
                format!(
                    "another server than the one expected answers at {to}; ask its operator for the reference"
                ),
            ));
        }
        link.tx.send(Bytes::copy_from_slice(packet)).await?;
        link.tx.finish().await?;
        link.rx.recv().await?.ok_or_else(|| {
            Error::new(ErrorKind::Unreachable, format!("{to} closed the connection without an answer"))
                .with_retry(Retry::After(5))
        })
    };
    match tokio::time::timeout(patience, talk).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(
            ErrorKind::Unreachable,
            format!(
                "{to} did not answer within {} seconds; check the network, or try later",
                patience.as_secs()
            ),
        )),
    }
}
