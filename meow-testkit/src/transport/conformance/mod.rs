//! What every transport must do, as a suite that any crate can run.
//!
//! ```
//! use meow_testkit::transport::conformance::{Subject, run_all};
//! use meow_transport::Memory;
//!
//! # #[tokio::main]
//! # async fn main() {
//! let subject = Subject::new(Memory::new(), "memory://conformance".parse().unwrap()).nothing_between();
//! run_all(&subject).await.unwrap();
//! # }
//! ```
//!
//! The cases adapt to the [`Pattern`](meow_core::transport::Pattern) of the links. Each is a function of its own, for those who want to run
//! one; each ends within [`LIMIT`].

mod basics;
mod closing;
mod flow;
mod harness;
mod profile;

pub use basics::{
    bad_endpoints_are_refused, echo, empty_frame_is_refused, exact_max_frame, frame_boundaries_are_kept,
    many_links, nothing_shows_credentials, one_byte_more_is_refused,
};
pub use closing::{
    close_is_bounded, close_lets_open_links_end, finish_ends_one_direction, nobody_listens, peer_drop_is_seen,
};
pub use flow::{back_pressure, cancelled_accept, cancelled_connect, cancelled_recv, cancelled_send};
pub use harness::{Failure, Subject};
pub use profile::{profile_is_true, profiles_agree, push_is_true};

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The longest that one case may take, unless [`Subject::within`] allows more.
pub const LIMIT: Duration = Duration::from_secs(60);

type Case = for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case, by name.
        const CASES: &[(&str, Case)] = &[$((stringify!($name), |subject| Box::pin($name(subject)))),*];
    };
}

cases![
    profiles_agree,
    echo,
    exact_max_frame,
    one_byte_more_is_refused,
    empty_frame_is_refused,
    frame_boundaries_are_kept,
    many_links,
    bad_endpoints_are_refused,
    nothing_shows_credentials,
    finish_ends_one_direction,
    peer_drop_is_seen,
    nobody_listens,
    close_lets_open_links_end,
    close_is_bounded,
    profile_is_true,
    push_is_true,
    cancelled_connect,
    cancelled_accept,
    cancelled_recv,
    cancelled_send,
    back_pressure,
];

/// Runs every case, one after the other.
///
/// # Errors
/// Names each case that failed, and how.
pub async fn run_all(subject: &Subject) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for (name, case) in CASES {
        match tokio::time::timeout(subject.limit, case(subject)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => failures.push(format!("{name}: {e}")),
            Err(_) => failures.push(format!("{name}: did not end within {} s", subject.limit.as_secs())),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures.join("\n"))) }
}
