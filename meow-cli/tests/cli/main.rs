//! The program as its users meet it: real processes, the real relay on loopback, exit codes and output.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and one that is skipped says so"
)]

mod broker;
mod cards;
mod copies;
mod cover;
mod doctor;
mod errors;
mod every_link;
mod failover;
mod guide;
mod help;
mod line;
mod logs;
mod messages;
mod mid_message;
mod namespaces;
mod policy;
mod processes;
mod proxy;
mod servers;
mod support;
mod terminal;
mod unlock;
