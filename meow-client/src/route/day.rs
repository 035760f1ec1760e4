//! What cover traffic costs in a day.

use std::time::Duration;

use meow_core::policy::Pause;

use super::cost::RouteCost;
use super::wire::Opening;

/// What cover traffic costs by one route in a day in which this device is always online. What waits for the contact goes in
/// the place of messages that say nothing, so it costs nothing more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DayCost {
    /// Packets there, each with one back.
    pub packets: u64,
    /// Bytes that this device sends, headers of IP included.
    pub up: u64,
    /// Bytes that it gets.
    pub down: u64,
}

/// One kind of packet, sent at the moments of a process.
pub(super) struct Stream {
    /// Packets in a day.
    per_day: f64,
    /// What one costs, and what a connection costs where the last one was closed.
    cost: RouteCost,
    opening: Opening,
}

impl Stream {
    /// Sent after these pauses, each when the one before is through after `under_way`.
    pub(super) fn new(pause: Pause, under_way: Duration, cost: RouteCost, opening: Opening) -> Self {
        Self { per_day: pause.per_day(under_way), cost, opening }
    }

    /// So many a day.
    pub(super) fn of(per_day: f64, cost: RouteCost, opening: Opening) -> Self {
        Self { per_day, cost, opening }
    }

    pub(super) fn per_day(&self) -> f64 {
        self.per_day
    }
}

/// What they cost together, by one route, with what comes once a day (up and down). A connection that nothing uses is closed after a while, so that rare packets open
/// one each: the pauses between all of them are exponential, near enough.
pub(super) fn day(streams: &[Stream], once: (u64, u64)) -> Option<DayCost> {
    const DAY: f64 = 86_400.0;
    let all: f64 = streams.iter().map(|stream| stream.per_day).sum();
    if all == 0.0 {
        return None;
    }
    let (mut up, mut down) = (once.0 as f64, once.1 as f64);
    for Stream { per_day, cost, opening } in streams {
        let opens = (-opening.idle.as_secs_f64() * all / DAY).exp();
        up += per_day * (cost.up as f64 + opens * opening.up as f64);
        down += per_day * (cost.down as f64 + opens * opening.down as f64);
    }
    let whole = |n: f64| n.round() as u64;
    Some(DayCost { packets: whole(all), up: whole(up), down: whole(down) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_packets_open_a_connection_each_and_frequent_ones_hardly() {
        let cost = RouteCost { up: 1000, down: 500, latency: Duration::ZERO, round_trip: Duration::ZERO };
        let opening = Opening { up: 200, down: 100, idle: Duration::from_secs(20) };
        let of = |secs| {
            let pause = Pause::from_secs(secs).unwrap();
            day(&[Stream::new(pause, Duration::ZERO, cost, opening)], (7, 0)).unwrap()
        };
        assert_eq!(
            of(3600),
            DayCost { packets: 24, up: 24 * 1000 + 24 * 200 - 27 + 7, down: 24 * 500 + 24 * 100 - 13 }
        );
        let often = of(10);
        assert_eq!(often.packets, 8640);
        assert!(often.up < 8640 * 1030 && often.up > 8640 * 1020, "{often:?}");
        assert_eq!(day(&[], (7, 7)), None);
    }
}
