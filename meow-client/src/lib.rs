//! The Meow client engine and its encrypted store.
