//! The Meow protocol without I/O: wire structs, keys, cards, ratchet, state machines, the Transport trait.
