//! Events as records: what `meow receive` prints.

use meow::{Event, EventKind};
use serde::Serialize;

use crate::output::Record;
use crate::records::{ContentRecord, RungRecord};
use crate::text::{one_line, shown};
use crate::utc::utc;

/// Something that happened.
#[derive(Serialize)]
pub(crate) struct EventRecord {
    number: u64,
    at_ms: u64,
    contact: String,
    #[serde(flatten)]
    what: What,
}

/// What happened. The field `event` names which fields follow.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    Message {
        id: String,
        #[serde(flatten)]
        content: ContentRecord,
    },
    Greeting {
        text: String,
    },
    Established,
    Delivery {
        id: String,
        #[serde(flatten)]
        delivery: RungRecord,
    },
    Stalled {
        id: String,
        reason: String,
    },
    Missing {
        from: u64,
        to: u64,
    },
    Found {
        seq: u64,
    },
    Fork,
    Unreadable,
    RolledBack,
    Renewed,
    Thin {
        on: bool,
    },
    MailboxReopened {
        server: String,
    },
    MailboxGone {
        server: String,
    },
    MailboxMoved {
        from: String,
        to: String,
    },
    ServerSilent {
        server: String,
    },
    RenewalsHeld,
    LoopsLost {
        in_a_row: u32,
    },
    Unknown,
}

impl From<Event> for EventRecord {
    fn from(event: Event) -> Self {
        Self { number: event.number, at_ms: event.at_ms, contact: event.contact, what: (&event.kind).into() }
    }
}

impl From<&EventKind> for What {
    fn from(kind: &EventKind) -> Self {
        match kind {
            EventKind::Message { id, content } => {
                Self::Message { id: id.to_string(), content: content.into() }
            }
            EventKind::Greeting(text) => Self::Greeting { text: text.clone() },
            EventKind::Established => Self::Established,
            EventKind::Delivery { id, delivery } => {
                Self::Delivery { id: id.to_string(), delivery: (*delivery).into() }
            }
            EventKind::Stalled { id, reason } => Self::Stalled { id: id.to_string(), reason: reason.clone() },
            EventKind::Missing { from, to } => Self::Missing { from: *from, to: *to },
            EventKind::Found { seq } => Self::Found { seq: *seq },
            EventKind::Fork => Self::Fork,
            EventKind::Unreadable => Self::Unreadable,
            EventKind::RolledBack => Self::RolledBack,
            EventKind::Renewed => Self::Renewed,
            EventKind::Thin { on } => Self::Thin { on: *on },
            EventKind::MailboxReopened { server } => Self::MailboxReopened { server: server.clone() },
            EventKind::MailboxGone { server } => Self::MailboxGone { server: server.clone() },
            EventKind::MailboxMoved { from, to } => Self::MailboxMoved { from: from.clone(), to: to.clone() },
            EventKind::ServerSilent { server } => Self::ServerSilent { server: server.clone() },
            EventKind::RenewalsHeld => Self::RenewalsHeld,
            EventKind::LoopsLost { in_a_row } => Self::LoopsLost { in_a_row: *in_a_row },
            _ => Self::Unknown,
        }
    }
}

impl Record for EventRecord {
    /// `m4 2026-11-22 21:20:29Z bob: text` for a message, `-- 2026-11-22 21:20:29Z bob: what` for the rest.
    fn text(&self) -> String {
        let (when, who) = (utc(self.at_ms), one_line(&self.contact));
        match &self.what {
            What::Message { id, content } => format!("{id} {when} {who}: {}", content.shown()),
            what => format!("-- {when} {who}: {}", what.sentence()),
        }
    }
}

impl What {
    /// What happened, and what to do.
    fn sentence(&self) -> String {
        let fixed = match self {
            Self::Message { content, .. } => return content.shown(),
            Self::Greeting { text } => {
                return format!("says, with the answer to the card (unconfirmed): {}", shown(text));
            }
            Self::Delivery { id, delivery } => return format!("{id} is {delivery}"),
            Self::Stalled { id, reason } => return format!("{id} does not get on: {}", one_line(reason)),
            Self::Missing { from, to } if from == to => return format!("message number {from} is missing"),
            Self::Missing { from, to } => return format!("messages number {from} to {to} are missing"),
            Self::Found { seq } => return format!("message number {seq} has come after all"),
            Self::MailboxReopened { server } => {
                return format!(
                    "your mailbox at {} was lost there and is open again; what was in it is asked for again",
                    one_line(server)
                );
            }
            Self::MailboxGone { server } => {
                return format!(
                    "your mailbox at {} is gone; where another server of yours takes one, the contact is told, \
                     else add a server and run `meow rotate`",
                    one_line(server)
                );
            }
            Self::MailboxMoved { from, to } => {
                return format!(
                    "{} stays silent, so your mailbox is at {} in its place, and the contact is told",
                    one_line(from),
                    one_line(to)
                );
            }
            Self::ServerSilent { server } => {
                return format!(
                    "{} stays silent, and you have no other server to take its place: `meow server add` one",
                    one_line(server)
                );
            }
            Self::LoopsLost { in_a_row } => {
                return format!(
                    "{in_a_row} loops in a row did not come back: a server of the chains may drop packets, or is away; \
                     `meow route` says through which most were lost"
                );
            }
            Self::Established => "keys are confirmed, messages flow; compare safety codes with `meow verify`",
            Self::Fork => {
                "WARNING: the contact saw something else than what you sent; somebody interferes. \
                 Compare safety codes, and exchange new cards"
            }
            Self::Unreadable => "something in the mailbox does not open; if this goes on, exchange new cards",
            Self::RolledBack => {
                "this store is older than its server remembers (a restored copy); keys are being made anew"
            }
            Self::Renewed => "keys were made anew",
            Self::Thin { on: true } => {
                "its servers are reached by radio only: messages are cut thin, and are post-quantum at the handshake only"
            }
            Self::Thin { on: false } => "messages have their full form again",
            Self::RenewalsHeld => {
                "keys were made anew for it four times within an hour; more wait until the hour has passed. \
                 If this goes on, ask what is wrong there, or remove the contact"
            }
            Self::Unknown => "something happened that this version of meow does not know; update it",
        };
        fixed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use meow::{Content, Delivery, EventKind, MessageId};
    use serde_json::{Value, json};

    use super::{EventRecord, What};
    use crate::output::Record;

    fn record(what: What) -> EventRecord {
        EventRecord { number: 7, at_ms: 1000, contact: "bob".into(), what }
    }

    /// Every kind, and the fields that scripts rely on.
    fn known() -> Vec<(EventKind, Value)> {
        let (id, text) = (MessageId(4), Content::text(5, "hi").unwrap());
        let data = Content::data(5, "app/x", vec![1, 2, 3]).unwrap();
        let server = || "http://a/".to_owned();
        vec![
            (
                EventKind::Message { id, content: text },
                json!({"event": "message", "id": "m4", "content": "text", "text": "hi", "sent_ms": 5}),
            ),
            (
                EventKind::Message { id, content: data },
                json!({"event": "message", "id": "m4", "content": "data", "data_type": "app/x",
                    "data_base64": "AQID", "sent_ms": 5}),
            ),
            (EventKind::Greeting("ho".into()), json!({"event": "greeting", "text": "ho"})),
            (EventKind::Established, json!({"event": "established"})),
            (
                EventKind::Delivery { id, delivery: Delivery::Stored(2) },
                json!({"event": "delivery", "id": "m4", "delivery": "stored", "copies": 2}),
            ),
            (
                EventKind::Stalled { id, reason: "why".into() },
                json!({"event": "stalled", "id": "m4", "reason": "why"}),
            ),
            (EventKind::Missing { from: 1, to: 2 }, json!({"event": "missing", "from": 1, "to": 2})),
            (EventKind::Found { seq: 3 }, json!({"event": "found", "seq": 3})),
            (EventKind::Fork, json!({"event": "fork"})),
            (EventKind::Unreadable, json!({"event": "unreadable"})),
            (EventKind::RolledBack, json!({"event": "rolled_back"})),
            (EventKind::Renewed, json!({"event": "renewed"})),
            (EventKind::Thin { on: true }, json!({"event": "thin", "on": true})),
            (
                EventKind::MailboxReopened { server: server() },
                json!({"event": "mailbox_reopened", "server": "http://a/"}),
            ),
            (
                EventKind::MailboxGone { server: server() },
                json!({"event": "mailbox_gone", "server": "http://a/"}),
            ),
            (
                EventKind::MailboxMoved { from: server(), to: "http://b/".into() },
                json!({"event": "mailbox_moved", "from": "http://a/", "to": "http://b/"}),
            ),
            (
                EventKind::ServerSilent { server: server() },
                json!({"event": "server_silent", "server": "http://a/"}),
            ),
            (EventKind::RenewalsHeld, json!({"event": "renewals_held"})),
            (EventKind::LoopsLost { in_a_row: 3 }, json!({"event": "loops_lost", "in_a_row": 3})),
        ]
    }

    #[test]
    fn fields_are_as_the_guide_says() {
        let guide = include_str!("../../docs/guide/cli.md");
        for (kind, mut fields) in known() {
            for (name, value) in [("number", json!(7)), ("at_ms", json!(1000)), ("contact", json!("bob"))] {
                fields[name] = value;
            }
            let record = record((&kind).into());
            assert_eq!(serde_json::to_value(&record).unwrap(), fields);
            for name in fields.as_object().unwrap().keys() {
                assert!(guide.contains(&format!("`{name}`")), "the guide does not know {name}");
            }
            let event = fields["event"].as_str().unwrap();
            assert!(guide.contains(&format!("| `{event}` |")), "the guide does not know {event}");
        }
    }

    #[test]
    fn texts_are_one_line_and_harmless() {
        for (kind, _) in known() {
            let text = record((&kind).into()).text();
            assert!(text.contains(" 1970-01-01 00:00:01Z bob: "), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let nasty = "x\u{1b}[2J\nm1 fake".to_owned();
        for what in [
            What::Greeting { text: nasty.clone() },
            What::Stalled { id: "m1".into(), reason: nasty.clone() },
            What::MailboxGone { server: nasty },
        ] {
            let text = record(what).text();
            assert!(!text.contains('\u{1b}') && text.lines().all(|l| !l.starts_with("m1")), "{text}");
        }
    }
}
