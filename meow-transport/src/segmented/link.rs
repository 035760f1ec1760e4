//! The halves of a segmented link.

use std::sync::Arc;

use meow_core::crypto::SystemRandom;
use meow_core::segment::{Broken, LinkId, SendError, Taken};
use meow_core::transport::{Frame, RecvFrames, SendFrames, check_frame};
use meow_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::station::Station;

/// What both halves share.
struct Shared {
    station: Arc<Station>,
    id: LinkId,
    notify: Arc<Notify>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.station.unwatch(self.id);
    }
}

pub(super) struct Tx {
    shared: Arc<Shared>,
    _held: Option<TaskTrackerToken>,
}

pub(super) struct Rx {
    shared: Arc<Shared>,
    _held: Option<TaskTrackerToken>,
}

pub(super) fn halves(
    station: Arc<Station>,
    id: LinkId,
    notify: Arc<Notify>,
    [tx_held, rx_held]: [Option<TaskTrackerToken>; 2],
) -> (Tx, Rx) {
    let shared = Arc::new(Shared { station, id, notify });
    (Tx { shared: Arc::clone(&shared), _held: tx_held }, Rx { shared, _held: rx_held })
}

pub(super) fn lost() -> Error {
    broken(Broken::Medium)
}

fn broken(why: Broken) -> Error {
    let error = Error::new(ErrorKind::Unreachable, format!("{why}; connect again")).with_source(why);
    error.with_retry(Retry::Now)
}

fn refused(e: SendError) -> Error {
    match e {
        SendError::Broken(why) => broken(why),
        _ => Error::new(ErrorKind::Usage, "this link was finished; open another one to send more"),
    }
}

impl SendFrames for Tx {
    async fn send(&mut self, frame: Frame) -> Result<()> {
        let Shared { station, id, notify } = &*self.shared;
        check_frame(&frame, station.profile().max_frame)?;
        loop {
            let changed = notify.notified();
            let sent = {
                let now = station.now();
                station.state().machine.send(*id, frame.clone(), now, &mut SystemRandom)
            };
            match sent {
                Ok(()) => {
                    station.wake();
                    return Ok(());
                }
                Err(SendError::Full) => changed.await,
                Err(e) => return Err(refused(e)),
            }
        }
    }

    async fn finish(&mut self) -> Result<()> {
        let Shared { station, id, .. } = &*self.shared;
        station.state().machine.finish(*id, &mut SystemRandom).map_err(refused)?;
        station.wake();
        Ok(())
    }

    async fn closed(&mut self) {
        let Shared { station, id, notify } = &*self.shared;
        loop {
            let changed = notify.notified();
            if station.state().machine.broken(*id).is_some() {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Shared { station, id, .. } = &*self.shared;
        let mut state = station.state();
        state.machine.drop_tx(*id);
        state.tell();
        drop(state);
        station.wake();
    }
}

impl RecvFrames for Rx {
    async fn recv(&mut self) -> Result<Option<Frame>> {
        let Shared { station, id, notify } = &*self.shared;
        loop {
            let changed = notify.notified();
            let taken = station.state().machine.take(*id);
            match taken {
                Taken::Packet(packet) => {
                    // The far side may have to hear that there is room again.
                    station.wake();
                    return Ok(Some(packet));
                }
                Taken::End => return Ok(None),
                Taken::Broken(why) => return Err(broken(why)),
                Taken::Nothing => changed.await,
            }
        }
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        let Shared { station, id, .. } = &*self.shared;
        station.state().machine.drop_rx(*id);
        station.wake();
    }
}
