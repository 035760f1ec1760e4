//! A name server whose answers the test chooses.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meow_core::transport::{BoxFuture, Names, Resolve};

/// A name that leads elsewhere with each question, as a name server that wishes to be believed once and followed afterwards
/// would have it. Clones share their count.
#[derive(Clone, Debug)]
pub struct Rebinding {
    answers: Arc<Mutex<VecDeque<Vec<IpAddr>>>>,
    asked: Arc<AtomicUsize>,
}

impl Rebinding {
    /// The answers one after the other, whatever the name; the last one stays.
    pub fn new(answers: impl IntoIterator<Item = Vec<IpAddr>>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), asked: Arc::default() }
    }

    /// From now on it leads there.
    pub fn lead_to(&self, answer: Vec<IpAddr>) {
        *self.lock() = VecDeque::from([answer]);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<IpAddr>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a transport asks.
    pub fn names(&self) -> Names {
        Names::by(self.clone())
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Rebinding {
    fn resolve<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.lock();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        drop(answers);
        Box::pin(async move { Ok(answer.unwrap_or_default()) })
    }
}
