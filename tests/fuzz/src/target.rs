//! Every parser that is tried: what it begins with, and how a case is fed to it.
//!
//! Apart by who is spoken to. A target's answer is its shape: alike for alike answers, so that what leads somewhere new is seen.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

mod simulator;
mod language;
mod typed;
mod wire;
mod host;
mod shown;

/// A parser.
pub struct Target {
    pub name: &'static str,
    pub what: &'static str,
    /// What is real.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Feeds a case; the answer's shape.
    pub feed: fn(&[u8]) -> u64,
}

/// All of them: the simulator's first.
pub fn all() -> &'static [Target] {
    const COUNT: usize = simulator::ALL.len()
        + language::ALL.len()
        + typed::ALL.len()
        + wire::ALL.len()
        + host::ALL.len()
        + shown::ALL.len();
    static ALL: std::sync::LazyLock<Vec<Target>> = std::sync::LazyLock::new(|| {
        let mut all = Vec::with_capacity(COUNT);
        for some in [simulator::ALL, language::ALL, typed::ALL, wire::ALL, host::ALL, shown::ALL] {
            all.extend(some.iter().map(|Target { name, what, corpus, feed }| Target {
                name,
                what,
                corpus: *corpus,
                feed: *feed,
            }));
        }
        all
    });
    &ALL
}

/// A text as a parser of texts is given one: what is no UTF-8 never reaches it.
fn text(case: &[u8]) -> String {
    String::from_utf8_lossy(case).into_owned()
}

/// Without numbers and without what stands in quotes: two answers that differ in these alone are alike.
fn shape(answer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut quoted = false;
    for c in answer.chars().take(2_000) {
        quoted ^= matches!(c, '"' | '`');
        if !quoted && !c.is_ascii_digit() {
            c.hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn shape_of<T: std::fmt::Debug, E: std::fmt::Display>(answer: Result<T, E>) -> u64 {
    match answer {
        Ok(value) => shape(&format!("{value:?}").chars().take(400).collect::<String>()),
        Err(error) => shape(&error.to_string()),
    }
}

/// Several answers as one.
fn all_of(shapes: impl IntoIterator<Item = u64>) -> u64 {
    shapes.into_iter().fold(0, |sum: u64, shape| sum.rotate_left(7) ^ shape)
}
