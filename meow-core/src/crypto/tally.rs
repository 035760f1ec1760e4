//! Counts the public-key operations of a process, for tests of what a packet costs (attack 19). Nothing is counted without
//! the feature `tally`.

#[cfg(feature = "tally")]
static DONE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Counts so many: a signature made or checked, an agreement, an encapsulation or its opening.
pub(super) fn count(operations: u64) {
    #[cfg(feature = "tally")]
    DONE.fetch_add(operations, std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(feature = "tally"))]
    let _ = operations;
}

/// How many public-key operations this process has done so far, on all threads.
#[cfg(feature = "tally")]
pub fn public_key_operations() -> u64 {
    DONE.load(std::sync::atomic::Ordering::Relaxed)
}
