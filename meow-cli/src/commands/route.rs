//! `meow route`

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meow::client::{HopShown, RouteReport};
use serde::Serialize;

use super::Outcome;
use crate::args::Name;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Record;
use crate::text::one_line;

/// One allowed route to one mailbox server.
#[derive(Serialize)]
struct Explained {
    contact: String,
    #[serde(flatten)]
    expected: Expected,
    works: bool,
    there: Vec<Hop>,
    back: Vec<Hop>,
    /// What is weak about it though it works.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// What cover traffic costs by this route in a day.
    #[serde(flatten)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cover: Option<CoverDay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cover_stands_still: Option<String>,
    /// Of the last loops so many went out, and so many did not come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    loops_sent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loops_lost: Option<u32>,
}

/// Cover traffic of a day in which this device is always online.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct CoverDay {
    cover_packets_per_day: u64,
    cover_bytes_up_per_day: u64,
    cover_bytes_down_per_day: u64,
}

impl CoverDay {
    /// By all routes together; `None` where there is none.
    pub(super) fn of(reports: &[RouteReport]) -> Option<Self> {
        let days = reports.iter().filter_map(|report| report.day);
        days.fold(None, |sum: Option<Self>, day| {
            let sum = sum.unwrap_or_default();
            Some(Self {
                cover_packets_per_day: sum.cover_packets_per_day + day.packets,
                cover_bytes_up_per_day: sum.cover_bytes_up_per_day + day.up,
                cover_bytes_down_per_day: sum.cover_bytes_down_per_day + day.down,
            })
        })
    }

    pub(super) fn text(&self) -> String {
        let Self { cover_packets_per_day, cover_bytes_up_per_day, cover_bytes_down_per_day } = self;
        format!(
            "cover traffic: about {cover_packets_per_day} packets a day, {cover_bytes_up_per_day} bytes out, \
             {cover_bytes_down_per_day} in"
        )
    }
}

/// What a message, or a look for mail, is expected to cost by one route.
#[derive(Serialize)]
pub(super) struct Expected {
    /// `send` or `fetch`.
    purpose: &'static str,
    route: String,
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(flatten)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

/// Bytes on this device's link for a text of 100 bytes, or for one look for mail.
#[derive(Clone, Copy, Serialize)]
struct Cost {
    bytes_up: u64,
    bytes_down: u64,
    /// Until it is at the mailbox server.
    latency_ms: u64,
}

impl Expected {
    pub(super) fn new(report: &RouteReport) -> Self {
        Self {
            purpose: if report.fetching { "fetch" } else { "send" },
            route: report.route.to_string(),
            server: report.server.clone(),
            problem: report.problem.clone(),
            cost: report.cost.map(|cost| Cost {
                bytes_up: cost.up,
                bytes_down: cost.down,
                latency_ms: u64::try_from(cost.latency.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    fn head(&self) -> String {
        let what = if self.purpose == "fetch" { "fetch from" } else { "send to" };
        let to = if self.server.is_empty() { "the contact's device" } else { &self.server };
        format!("{what} {} by {}", one_line(to), self.route)
    }

    fn cost(&self) -> Option<String> {
        let Cost { bytes_up, bytes_down, latency_ms: ms } = self.cost?;
        let what = if self.purpose == "fetch" { "a look" } else { "a short text" };
        let time = if ms < 100 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) };
        Some(format!("{what}: about {bytes_up} bytes out, {bytes_down} in, {time}"))
    }

    /// In one line.
    pub(super) fn text(&self) -> String {
        match (&self.problem, self.cost()) {
            (Some(problem), _) => format!("{}: not now: {}", self.head(), one_line(problem)),
            (None, Some(cost)) => format!("{}: {cost}", self.head()),
            (None, None) => format!("{}: what it costs cannot be told", self.head()),
        }
    }
}

/// A server of a route.
#[derive(Serialize)]
struct Hop {
    url: String,
    fingerprint: String,
    why: String,
}

impl From<HopShown> for Hop {
    fn from(hop: HopShown) -> Self {
        Self { url: hop.url, fingerprint: URL_SAFE_NO_PAD.encode(hop.fingerprint), why: hop.why }
    }
}

impl Explained {
    fn new(contact: &str, report: RouteReport) -> Self {
        Self {
            contact: contact.to_owned(),
            expected: Expected::new(&report),
            cover: CoverDay::of(std::slice::from_ref(&report)),
            cover_stands_still: report.stands_still,
            loops_sent: report.loops.map(|loops| loops.sent),
            loops_lost: report.loops.map(|loops| loops.lost),
            works: report.problem.is_none(),
            there: report.there.into_iter().map(Hop::from).collect(),
            back: report.back.into_iter().map(Hop::from).collect(),
            warnings: report.warnings,
        }
    }
}

impl Record for Explained {
    /// A line for the route, one for each server, and one for each weakness.
    fn text(&self) -> String {
        let weak: String = self.warnings.iter().map(|w| format!("\n  weak: {}", one_line(w))).collect();
        if self.expected.problem.is_some() {
            return self.expected.text() + &weak;
        }
        let head = self.expected.head();
        let line =
            |mark: &str, hop: &Hop| format!("\n  {mark} {}  {}", one_line(&hop.url), one_line(&hop.why));
        let there: String = self.there.iter().map(|hop| line("->", hop)).collect();
        let back: String = self.back.iter().map(|hop| line("<-", hop)).collect();
        let cost = self.expected.cost().map(|cost| format!("\n  {cost}")).unwrap_or_default();
        let mut more = String::new();
        if let Some(day) = &self.cover {
            more += &format!("\n  {}", day.text());
        }
        if let Some(why) = &self.cover_stands_still {
            more += &format!("\n  no cover traffic now: {}", one_line(why));
        }
        if let (Some(sent), Some(lost)) = (self.loops_sent, self.loops_lost) {
            more += &format!("\n  loops: of the last {sent}, {lost} did not come back");
        }
        format!("{head}{there}{back}{cost}{weak}{more}")
    }
}

pub(super) async fn run(context: &Context, args: Name) -> Outcome {
    let client = context.open().await?;
    for report in client.explain_route(&args.name).await? {
        context.output.put(&Explained::new(&args.name, report))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_are_said_in_milliseconds() {
        let time = |latency_ms| {
            let cost = Some(Cost { bytes_up: 1, bytes_down: 2, latency_ms });
            let (route, server) = (String::new(), String::new());
            let shown = Expected { purpose: "send", route, server, problem: None, cost }.cost().unwrap();
            shown.rsplit_once(", ").unwrap().1.to_owned()
        };
        let shown = [0, 7, 99, 100, 1250, 61_000].map(time);
        assert_eq!(shown, ["0 ms", "7 ms", "99 ms", "0.1 s", "1.2 s", "61.0 s"]);
    }
}
