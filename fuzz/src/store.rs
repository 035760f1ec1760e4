//! What the relay's store reads back from its log, once a record's seal is open. Taken as a file: the rest of the store needs SQLCipher.

#[allow(dead_code, reason = "the store uses what this does not")]
#[path = "../../meow-server/src/store/log/record.rs"]
mod record;

use record::Record;

use crate::{Seed, Target, seed};

/// The targets of this module.
pub const TARGETS: &[Target] = &[Target { name: "log_record", run: log_record, seeds: log_record_seeds }];

/// A record of the log. True if it is one.
pub fn log_record(data: &[u8]) -> bool {
    let Some(record) = Record::decode(data) else { return false };
    assert_eq!(encoded(&record), data, "one record, one encoding");
    let (Record::Item { slot, .. } | Record::Taken { slot, .. }) = record;
    assert!(slot > 0);
    true
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    assert_eq!(out.len(), record.len());
    out
}

/// Seeds of [`log_record`].
pub fn log_record_seeds() -> Vec<Seed> {
    let item = |body| Record::Item { slot: 7, number: 3, expires: 1_800_000_000, id: [0x1d; 16], body };
    let taken = |floor, items, bytes| Record::Taken { slot: 7, counter: 9, floor, items, bytes };
    let whole = encoded(&item(&[0x5a; 60]));
    let mut unknown = whole.clone();
    unknown[0] = 3;
    let mut no_mailbox = whole.clone();
    no_mailbox[1..9].fill(0);
    let mut no_number = whole.clone();
    no_number[9..17].fill(0);
    vec![
        seed("item", whole.clone()),
        seed("item-empty", encoded(&item(&[]))),
        seed("item-long", encoded(&item(&[9; 1888]))),
        seed("taken", encoded(&taken(3, 2, 60))),
        seed("taken-nothing", encoded(&taken(0, 0, 0))),
        seed("bad-empty", []),
        seed("bad-kind", unknown),
        seed("bad-mailbox", no_mailbox),
        seed("bad-number", no_number),
        seed("bad-cut", &whole[..40]),
        seed("bad-taken-more-than-there-are", encoded(&taken(1, 2, 60))),
        seed("bad-taken-bytes-of-nothing", encoded(&taken(1, 0, 60))),
        seed("bad-taken-large", encoded(&taken(1 << 63, 1, 1))),
        seed("bad-taken-trailing", [&encoded(&taken(3, 2, 60))[..], &[0]].concat()),
    ]
}
