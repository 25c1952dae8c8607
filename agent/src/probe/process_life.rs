//! Whether a process lives, and its death the moment it happens.
//!
//! Apart because it holds on to what it saw: each process by a pidfd, whose start time was compared after it was opened, so that a
//! number that was given to another process is nobody's death and nobody's life. It must never signal anything.

use std::os::fd::OwnedFd;

use baton_model::{action::process::Selector, outcome::Fault};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::io::unix::AsyncFd;

use super::Answer;
use crate::{
    action::process::{bad_selector, described},
    host::processes::{self, Held, Matcher, Seen},
};

/// Held at once, the oldest of those that match: each is a file descriptor. A selector that means a server and its many
/// children is disturbed when the last of these has ended, and asked at its period in any case.
const HELD_MAX: usize = 64;

pub(super) struct ProcessLife {
    selector: Selector,
    matcher: Matcher,
    held: Vec<Watched>,
    /// What was held has ended, and nobody was told yet.
    ended: bool,
}

struct Watched {
    seen: Seen,
    exit: AsyncFd<OwnedFd>,
}

impl ProcessLife {
    pub(super) fn new(selector: &Selector) -> Result<Self, Fault> {
        let matcher = Matcher::new(selector).map_err(bad_selector)?;
        Ok(Self { selector: selector.clone(), matcher, held: Vec::new(), ended: false })
    }

    pub(super) fn ask(&mut self) -> Answer {
        // Most of the time what was held still lives, and the whole of /proc need not be read.
        let still = |seen: &Seen| {
            let now = processes::look(seen.pid);
            now.is_some_and(|now| now.started_ticks == seen.started_ticks && self.matcher.matches(&now))
        };
        if !self.ended && !self.held.is_empty() && self.held.iter().all(|watched| still(&watched.seen)) {
            return Answer::Healthy(running(self.held.iter().map(|watched| &watched.seen)));
        }
        let before: Vec<Seen> = self.held.drain(..).map(|watched| watched.seen).collect();
        self.ended = false;
        let mut found = processes::find(&self.matcher);
        found.sort_by_key(|seen| (seen.started_ticks, seen.pid));
        for seen in &found {
            if self.held.len() == HELD_MAX {
                break;
            }
            // One that cannot be held (gone just now, no descriptor left) is seen at the next question.
            if let Ok(Some(held)) = Held::hold(seen)
                && let Ok(exit) = held.exit()
            {
                self.held.push(Watched { seen: held.seen, exit });
            }
        }
        let gone: Vec<&Seen> = before.iter().filter(|seen| !seen.alive()).collect();
        let alive: Vec<&Seen> = found.iter().filter(|seen| seen.alive()).collect();
        match (alive.is_empty(), gone.is_empty()) {
            (false, true) => Answer::Healthy(running(alive)),
            (false, false) if alive.iter().any(|seen| before.contains(seen)) => Answer::Healthy(running(alive)),
            (false, false) => Answer::Healthy(format!("{}; {} ended before", running(alive), names(gone))),
            (true, false) => Answer::Died(format!("{} has ended", names(gone))),
            (true, true) => match before.is_empty() {
                true => Answer::Unhealthy(format!("no process {} runs", described(&self.selector))),
                false => Answer::Unhealthy(format!("{} runs something else now", names(&before))),
            },
        }
    }

    /// When the last of those that were seen has ended.
    pub(super) async fn disturbed(&mut self) {
        if self.ended {
            return;
        }
        if self.held.is_empty() {
            return std::future::pending().await;
        }
        let mut living: FuturesUnordered<_> =
            self.held.iter().map(|watched| watched.exit.readable().map(drop)).collect();
        while living.next().await.is_some() {}
        drop(living);
        self.ended = true;
    }
}

fn running<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> String {
    format!("{} runs", names(seen))
}

fn names<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> String {
    /// As many as a line takes.
    const SHOWN: usize = 4;
    let all: Vec<String> = seen.into_iter().map(Seen::to_string).collect();
    let more = all.len().saturating_sub(SHOWN);
    let shown = all[..all.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
