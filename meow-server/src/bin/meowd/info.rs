//! `meowd info`.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meow_core::store::MailboxStore as _;
use meow_core::{Error, ErrorKind, Result, wire};
use serde_json::json;

use crate::args::InfoArgs;
use crate::data::Data;
use crate::print;

pub(crate) fn info(args: &InfoArgs) -> Result<()> {
    let data = Data::at(args.place.data.clone());
    let identity = data.identity()?;
    let running = data.in_use()?;
    let stats = data.store_beside(&identity)?.stats()?;
    let reference = data.reference(&identity)?.map(|reference| reference.to_string());
    let now = now();
    let keys: Vec<_> = identity
        .sealing_keys()
        .map(|key| (key.number, if key.parcel { "parcel" } else { "online" }, now.saturating_sub(key.made)))
        .collect();
    let fingerprint = URL_SAFE_NO_PAD.encode(identity.fingerprint());
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        let keys: Vec<_> = keys
            .iter()
            .map(|(number, kind, age)| json!({ "number": number, "kind": kind, "age_secs": age }))
            .collect();
        let object = json!({
            "reference": reference,
            "fingerprint": fingerprint,
            "running": running,
            "mailboxes": stats.mailboxes,
            "items": stats.items,
            "bytes": stats.bytes,
            "keys": keys,
            "version": version,
            "protocol": wire::VERSION,
        });
        return print(format!("{object}\n").as_bytes());
    }
    let mut out = String::new();
    let mut line = |name: &str, value: String| out.push_str(&format!("{name:<13}{value}\n"));
    line("reference", reference.unwrap_or_else(|| "not known before the first start".into()));
    line("fingerprint", fingerprint);
    line("running", if running { "yes" } else { "no" }.into());
    line("mailboxes", stats.mailboxes.to_string());
    line("items", stats.items.to_string());
    line("bytes", stats.bytes.to_string());
    for (number, kind, age) in keys {
        line("sealing key", format!("{number}, {kind}, {} hours old", age / 3600));
    }
    line("version", format!("{version}, protocol {}", wire::VERSION));
    print(out.as_bytes())
}

/// Unix time in seconds; a clock before 1970 reads as 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A clock that was never set would make what is dated by it expire at once.
pub(crate) fn set_clock() -> Result<u64> {
    const EARLIEST: u64 = 1_735_689_600;
    let now = now();
    if now < EARLIEST {
        return Err(Error::new(ErrorKind::Clock, "the clock of this machine is not set: set it first"));
    }
    Ok(now)
}
