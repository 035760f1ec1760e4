//! The engine against a real relay, over `memory:` links.

mod crash;
mod lying;
mod rollback;
mod story;
mod support;
