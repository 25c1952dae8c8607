//! What happened, in the order in which it happened, for a person and for the comparison of two runs.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{chance::Chance, entropy};

/// Kept for a failure that is told without a trace.
const KEPT: usize = 60;

/// Clones are the same story.
#[derive(Clone, Default)]
pub struct Story(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// Every line as it comes.
    aloud: bool,
    lines: u64,
    digest: u64,
    last: VecDeque<String>,
}

impl Story {
    pub fn aloud(&self) {
        self.lock().aloud = true;
    }

    pub fn is_aloud(&self) -> bool {
        self.lock().aloud
    }

    pub fn tell(&self, who: &str, what: impl AsRef<str>) {
        let us = entropy::now_us();
        let line = format!("{:>5}.{:02} {who:<8} {}", us / 1_000_000, us % 1_000_000 / 10_000, what.as_ref());
        let mut book = self.lock();
        book.lines += 1;
        book.digest = Chance::of(book.digest, &[&line]).draw();
        if book.aloud {
            println!("{line}");
        }
        if book.last.len() == KEPT {
            book.last.pop_front();
        }
        book.last.push_back(line);
    }

    /// Lines so far, and a number that is the same where all of them are.
    pub fn digest(&self) -> (u64, u64) {
        let book = self.lock();
        (book.lines, book.digest)
    }

    pub fn last_lines(&self) -> Vec<String> {
        self.lock().last.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
