//! Onion packets made once more, from the spec's chapter and primitives alone.

use meow_core::crypto::{DhPublic, DhSecret, KeyLabel, Secret, WideKey, derive, key_stream, short_mac};

const SLOT: usize = 68;
const SLOTS: usize = 5 * SLOT;

/// A server, as it is listed, and how long it keeps the packet.
pub(crate) struct Hop {
    pub(crate) id: [u8; 16],
    pub(crate) hint: u8,
    pub(crate) key: DhPublic,
    pub(crate) delay: u16,
}

/// What was drawn, in order.
pub(crate) struct Drawn(std::vec::IntoIter<Vec<u8>>);

impl Drawn {
    pub(crate) fn of(listed: &[String]) -> Self {
        let bytes = |text: &str| {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let all: Vec<Vec<u8>> = listed.iter().map(|text| bytes(text)).collect();
        Self(all.into_iter())
    }

    fn next<const N: usize>(&mut self) -> [u8; N] {
        self.0.next().unwrap().try_into().unwrap()
    }
}

/// Keys of one hop.
struct Keys {
    ephemeral: [u8; 32],
    stream: Secret,
    mac: Secret,
    payload: Secret,
    reply_slot: [u8; 16],
}

impl Keys {
    fn of(hop: &Hop, ephemeral: [u8; 32]) -> Self {
        let ephemeral = DhSecret::from_bytes(&ephemeral);
        let public = ephemeral.public();
        let agreed = ephemeral.agree(&hop.key).unwrap();
        let context: [&[u8]; 2] = [public.as_bytes(), hop.key.as_bytes()];
        let all: [u8; 128] = derive(KeyLabel::Onion, &[], agreed.expose(), &context);
        let secret = |at: usize| Secret::new(all[at..at + 32].try_into().unwrap());
        Self {
            ephemeral: *public.as_bytes(),
            stream: secret(0),
            mac: secret(32),
            payload: secret(64),
            reply_slot: all[112..].try_into().unwrap(),
        }
    }
}

fn xor(to: &mut [u8], key: &Secret, stream: usize) {
    let mut all = vec![0; stream];
    key_stream(key, &mut all);
    let last = &all[stream - to.len()..];
    to.iter_mut().zip(last).for_each(|(to, key)| *to ^= key);
}

/// Prefix and header for a route. `flags`: of the first hop, of those between, of the last; `slot`: where an answer goes.
fn header(
    route: &[Hop],
    keys: &[Keys],
    noise: [u8; SLOTS],
    flags: [u8; 3],
    slot: Option<[u8; 16]>,
) -> Vec<u8> {
    let n = route.len();
    let mut filler = Vec::new();
    for hop in &keys[..n - 1] {
        filler.extend([0; SLOT]);
        xor(&mut filler, &hop.stream, SLOTS + SLOT);
    }
    let mut slots = noise.to_vec();
    if let Some(slot) = slot {
        slots[..16].copy_from_slice(&slot);
    }
    slots[64] = if n == 1 { flags[0] | flags[2] } else { flags[2] };
    slots[66..68].copy_from_slice(&route[n - 1].delay.to_be_bytes());
    slots.truncate(SLOTS - filler.len());
    // The first bytes of the key stream.
    let mut stream = vec![0; slots.len()];
    key_stream(&keys[n - 1].stream, &mut stream);
    slots.iter_mut().zip(&stream).for_each(|(to, key)| *to ^= key);
    slots.extend(filler);
    for i in (0..n).rev() {
        let (hop, own) = (&route[i], &keys[i]);
        let mac = short_mac(&own.mac, &[&[0x07, 0, hop.hint], &own.ephemeral, &slots]);
        if i == 0 {
            return [&[0x07, hop.hint], &own.ephemeral[..], &mac, &slots].concat();
        }
        let before = &route[i - 1];
        let flags = if i == 1 { flags[0] } else { flags[1] };
        let mut all =
            [&hop.id[..], &own.ephemeral, &mac, &[flags, hop.hint], &before.delay.to_be_bytes()].concat();
        all.extend(&slots[..SLOTS - SLOT]);
        xor(&mut all, &keys[i - 1].stream, SLOTS);
        slots = all;
    }
    unreachable!("a route has a hop")
}

/// A small packet that carries this request; with a way back, and the key of the answer.
pub(crate) fn packet(there: &[Hop], back: &[Hop], request: &[u8], drawn: &mut Drawn) -> Vec<u8> {
    let mut way = |route: &[Hop]| -> (Vec<Keys>, [u8; SLOTS]) {
        let keys = route.iter().map(|hop| Keys::of(hop, drawn.next())).collect();
        (keys, drawn.next())
    };
    let (keys, noise) = way(there);
    let holds = u8::from(!back.is_empty());
    let mut packet = header(there, &keys, noise, [holds, 0, 2], None);
    let content = if back.is_empty() {
        [&[0x00], request].concat()
    } else {
        let (keys_back, noise) = way(back);
        let first = header(back, &keys_back, noise, [0, 0, 4], Some(keys[0].reply_slot));
        let answer: [u8; 32] = drawn.next();
        [&[0x01], &back[0].id[..], &first[1..], &answer, request].concat()
    };
    let mut payload = [&[0; 16], &content[..], &[0x80]].concat();
    payload.resize(2048 - packet.len(), 0);
    for hop in keys.iter().rev() {
        WideKey::expand(&hop.payload).encrypt(&mut payload).unwrap();
    }
    packet.extend(payload);
    packet
}
