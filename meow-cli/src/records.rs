//! Messages as records: what `send`, `receive`, `status` and `log` have in common.

use std::fmt::{self, Display, Formatter};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meow::Content;
use meow::client::Message;
use meow::core::delivery::{Delivery, Way};
use serde::Serialize;

use crate::output::Record;
use crate::text::{one_line, shown};
use crate::utc::utc;

/// What a message says. The field `content` names which fields follow.
#[derive(Serialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub(crate) enum ContentRecord {
    Text { text: String, sent_ms: u64 },
    Data { data_type: String, data_base64: String, sent_ms: u64 },
    Unknown { content_kind: u16 },
}

impl From<&Content> for ContentRecord {
    fn from(content: &Content) -> Self {
        match content {
            Content::Text { sent, text } => Self::Text { text: text.to_string(), sent_ms: *sent },
            Content::Data(data) => Self::Data {
                data_type: data.kind.to_string(),
                data_base64: STANDARD.encode(&*data.data),
                sent_ms: data.sent,
            },
            other => Self::Unknown { content_kind: other.kind() },
        }
    }
}

impl ContentRecord {
    /// For a terminal.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text { text, .. } => shown(text),
            Self::Data { data_type, data_base64, .. } => {
                let bytes = data_base64.trim_end_matches('=').len() * 3 / 4;
                format!("[{bytes} bytes of data of the type {}; --json shows them]", one_line(data_type))
            }
            Self::Unknown { content_kind } => {
                format!("[of kind {content_kind}, which this version of meow does not know; update it]")
            }
        }
    }
}

/// Where a message stands on the ladder.
#[derive(Serialize)]
pub(crate) struct RungRecord {
    delivery: &'static str,
    /// How many servers hold it, where it is `stored`.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<u8>,
}

impl From<Delivery> for RungRecord {
    fn from(delivery: Delivery) -> Self {
        let copies = match delivery {
            Delivery::Stored(copies) => Some(copies),
            _ => None,
        };
        Self { delivery: delivery.name(), copies }
    }
}

impl Display for RungRecord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.copies {
            Some(copies) => Delivery::Stored(copies).fmt(f),
            None => f.write_str(self.delivery),
        }
    }
}

/// A message of the log.
#[derive(Serialize)]
pub(crate) struct MessageRecord {
    id: String,
    contact: String,
    outgoing: bool,
    seq: u64,
    at_ms: u64,
    #[serde(flatten)]
    delivery: RungRecord,
    /// By which way it went: `direct`, `server` or `matriochka`.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    #[serde(flatten)]
    content: ContentRecord,
}

impl From<&Message> for MessageRecord {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id.to_string(),
            contact: message.contact.clone(),
            outgoing: message.outgoing,
            seq: message.seq,
            at_ms: message.at_ms,
            delivery: message.delivery.into(),
            way: message.way.map(Way::name),
            waiting: message.waiting.clone(),
            content: (&message.content).into(),
        }
    }
}

impl Record for MessageRecord {
    /// `m3 2026-11-22 21:20:29Z to bob (stored): text`
    fn text(&self) -> String {
        let who = one_line(&self.contact);
        let way = shown_way(self.way);
        let who = if self.outgoing { format!("to {who} ({}{way})", self.delivery) } else { who };
        format!("{} {} {who}: {}", self.id, utc(self.at_ms), self.content.shown())
    }
}

/// The usual way needs no word.
fn shown_way(way: Option<&str>) -> String {
    way.filter(|way| *way != Way::Server.name()).map(|way| format!(", {way}")).unwrap_or_default()
}

/// How far a message has come.
#[derive(Serialize)]
pub(crate) struct DeliveryRecord {
    id: String,
    contact: String,
    #[serde(flatten)]
    delivery: RungRecord,
    /// By which way it went: `direct`, `server` or `matriochka`.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
}

impl From<&Message> for DeliveryRecord {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id.to_string(),
            contact: message.contact.clone(),
            delivery: message.delivery.into(),
            way: message.way.map(Way::name),
            waiting: message.waiting.clone(),
        }
    }
}

impl DeliveryRecord {
    /// Its text, with the contact's name.
    pub(crate) fn to_contact(&self) -> String {
        format!("to {}: {}", one_line(&self.contact), self.text())
    }
}

impl Record for DeliveryRecord {
    /// `m3 stored`, `m3 stored at 2 servers`, `m3 stored, direct`, or `m3 queued: why`
    fn text(&self) -> String {
        match &self.waiting {
            Some(why) => format!("{} {}: {}", self.id, self.delivery, one_line(why)),
            None => format!("{} {}{}", self.id, self.delivery, shown_way(self.way)),
        }
    }
}
