//! A bill in an operator's words: one sentence a database, and one for all.

use super::{Bill, DatabaseBill, Fitness, Loss, Side};
use crate::time::{Moment, Span};

/// `14 s`, `2 min 5 s`, `1 h 3 min`, `2 d 4 h`: never less than it is.
pub fn length(span: Span) -> String {
    let seconds = span.as_millis().div_ceil(1000);
    let pair = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", (seconds % 3600).div_ceil(60), "min"),
        _ => pair(seconds / 86_400, "d", (seconds % 86_400).div_ceil(3600), "h"),
    }
}

impl Side {
    /// `SQL1`, or the host where the instance never told its name.
    pub fn who(&self) -> Option<String> {
        self.replica.clone().or_else(|| self.host.as_ref().map(ToString::to_string))
    }
}

impl DatabaseBill {
    /// The loss in a sentence, without the database's name.
    pub fn sentence(&self, made: Moment) -> String {
        let target = self.target.who().unwrap_or_else(|| "the target".to_owned());
        let old = self.old.who().unwrap_or_else(|| "the primary".to_owned());
        let loss = match &self.loss {
            Loss::NothingIfReady { seen } => format!(
                "nothing, if {target} was up when {old} failed (it said {} ago that it is ready for a failover)",
                length(made.since(*seen))
            ),
            Loss::AtMost { commits: Span(0), since } => {
                format!(
                    "no commit that was seen, but whatever happened in the {} since the last sample",
                    length(*since)
                )
            }
            Loss::AtMost { commits, since } => format!(
                "at most {} of commits, plus what happened in the {} since the last sample",
                length(*commits),
                length(*since)
            ),
            Loss::Unknown { why } => format!("unknown: {why}"),
        };
        match &self.fitness {
            Fitness::Unfit(state) => format!("not to be taken: it is {state} on {target}; loss: {loss}"),
            Fitness::Fit | Fitness::Unknown => loss,
        }
    }

    /// What is sorted by: the smallest is the worst.
    pub(super) fn badness(&self) -> (u8, std::cmp::Reverse<u64>) {
        let unfit = matches!(self.fitness, Fitness::Unfit(_));
        match &self.loss {
            _ if unfit => (0, std::cmp::Reverse(0)),
            Loss::Unknown { .. } => (1, std::cmp::Reverse(0)),
            Loss::AtMost { commits, since } => (2, std::cmp::Reverse(commits.0.saturating_add(since.0))),
            Loss::NothingIfReady { .. } => (3, std::cmp::Reverse(0)),
        }
    }
}

impl Bill {
    /// The worst database governs: a forced failover moves them all.
    pub fn verdict(&self) -> String {
        let Some(worst) = self.databases.first() else {
            let why = self.cautions.first().map_or("no database was ever seen", String::as_str);
            return format!("unknown: {why}");
        };
        let others = match self.databases.len() {
            1 => String::new(),
            2 => " (the other database no worse)".to_owned(),
            more => format!(" (the {} other databases no worse)", more - 1),
        };
        format!("{}: {}{others}", worst.name, worst.sentence(self.made))
    }
}
