//! A maintenance window inside a plan: the moments between which a step may begin, worked out when the plan was made.
//!
//! Numbers alone, so that every coordinator decides alike whatever table of time zones it was built with, and the plan's digest
//! covers what was shown.

use serde::{Deserialize, Serialize};

use crate::{group::Window, time::Moment};

/// Openings that a plan carries: a nightly window's of a month, a weekly one's of more than half a year.
pub const OPENINGS_MAX: usize = 32;

/// When a step may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepWindow {
    /// The group's name for it.
    pub name: String,
    /// As the group defines it: `sun 02:30 to 05:00 Europe/Berlin`.
    pub definition: String,
    /// In order: those that had not ended when the plan was made.
    pub openings: Vec<Opening>,
}

/// From `opens` until before `closes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    pub opens: Moment,
    pub closes: Moment,
    /// `opens` for people: `2026-11-22 01:00 UTC (02:00 Europe/Berlin)`.
    pub told: String,
}

impl StepWindow {
    pub fn new(name: &str, window: &Window, now: Moment) -> Self {
        let openings = window.openings(now, OPENINGS_MAX).into_iter();
        let openings = openings.map(|(opens, closes)| Opening { opens, closes, told: window.told(opens) }).collect();
        Self { name: name.to_owned(), definition: window.to_string(), openings }
    }

    pub fn is_open(&self, moment: Moment) -> bool {
        self.openings.iter().any(|opening| opening.opens <= moment && moment < opening.closes)
    }

    /// The opening after `moment`; `None` where the plan has no other.
    pub fn next_opening(&self, moment: Moment) -> Option<&Opening> {
        self.openings.iter().find(|opening| opening.opens > moment)
    }

    /// More than half of the coordinators' clocks show a moment inside: one wrong clock, the leader's own too, opens nothing.
    pub fn is_open_for_most<'a>(&self, clocks: impl Iterator<Item = &'a Moment>, coordinators: u32) -> bool {
        let inside = clocks.filter(|clock| self.is_open(**clock)).count();
        inside > usize::try_from(coordinators.max(1)).unwrap_or(usize::MAX) / 2
    }

    /// What a step waits for: `window maintenance, which opens 2026-11-22 01:00 UTC (02:00 Europe/Berlin)`.
    pub fn wait(&self, now: Moment) -> String {
        match self.next_opening(now) {
            _ if self.is_open(now) => {
                format!("window {}, which is open: the coordinators compare their clocks", self.name)
            }
            Some(opening) => format!("window {}, which opens {}", self.name, opening.told),
            None => format!("window {}, which does not open again in this plan", self.name),
        }
    }
}
