//! The result, for people: a line for each cell, and how many there are of each kind.

use serde::Serialize;

use crate::cell::{Cell, Verdict};

/// A cell and what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub runbook: String,
    pub party: &'static str,
    pub moment: &'static str,
    pub result: &'static str,
    /// Why there is nobody to kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_victim: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

pub const GREEN: &str = "green";
pub const RED: &str = "RED";
/// Neither green nor red.
pub const NOBODY: &str = "nobody to kill";

impl Row {
    /// `verdict`: of a cell with a victim.
    pub fn of(cell: &Cell, verdict: Option<Verdict>) -> Self {
        let result = match &verdict {
            None => NOBODY,
            Some(verdict) if verdict.is_green() => GREEN,
            Some(_) => RED,
        };
        Self {
            runbook: cell.runbook.id(),
            party: cell.party.word(),
            moment: cell.moment.word(),
            result,
            no_victim: cell.without_victim(),
            verdict,
        }
    }

    /// Steps at which somebody died, of all; after the task's end; halts, facts, seconds, result, and the try that it is of.
    pub fn words(&self) -> String {
        let head = format!("{:<38} {:<12} {:<7}", self.runbook, self.party, self.moment);
        let Some(verdict) = &self.verdict else {
            return format!("{head} {}", self.no_victim.unwrap_or(self.result));
        };
        let killed = format!("{}/{}", verdict.struck, verdict.steps);
        let mut text = format!(
            "{head} {killed:>7} {:>5} {:>6} {:>6} {:>6} {:>8.1}  {}",
            verdict.late,
            verdict.again,
            verdict.halts.len(),
            verdict.facts,
            verdict.seconds,
            self.result
        );
        if verdict.tries > 1 {
            text += &format!(", try {}", verdict.tries);
        }
        for wrong in verdict.red.iter().chain(&verdict.missed) {
            text += &format!("\n    {wrong}");
        }
        text
    }
}

/// The whole table, with its sum.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<38} {:<12} {:<7} {:>7} {:>5} {:>6} {:>6} {:>6} {:>8}  result\n",
        "runbook", "killed", "moment", "steps", "late", "again", "halts", "facts", "seconds"
    );
    for row in rows {
        text += &(row.words() + "\n");
    }
    text + &sum(rows) + "\n"
}

/// How many there are of each kind.
pub fn sum(rows: &[Row]) -> String {
    let count = |result| rows.iter().filter(|row| row.result == result).count();
    format!("{} cells: {} green, {} red, {} with nobody to kill", rows.len(), count(GREEN), count(RED), count(NOBODY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix;

    #[test]
    fn a_cell_without_a_victim_is_not_counted_as_green() {
        let cells = matrix::all();
        let nobody = cells.iter().find(|cell| cell.without_victim().is_some()).unwrap();
        let somebody = cells.iter().find(|cell| cell.without_victim().is_none()).unwrap();
        let green = Verdict { struck: 4, steps: 5, ..Verdict::default() };
        let red = Verdict { red: vec!["epoch: \"3\", undisturbed \"2\"".to_owned()], ..green.clone() };
        let late = Verdict { missed: vec!["nobody was killed at any step".to_owned()], tries: 3, ..green.clone() };
        let rows = [(nobody, None), (somebody, Some(green)), (somebody, Some(red)), (somebody, Some(late))];
        let table = table(&rows.map(|(cell, verdict)| Row::of(cell, verdict)));
        assert!(table.contains("no step asks a database"), "{table}");
        assert!(table.contains("    epoch: \"3\", undisturbed \"2\"\n"), "{table}");
        assert!(table.contains("RED, try 3\n    nobody was killed at any step\n"), "{table}");
        assert!(table.ends_with("4 cells: 1 green, 2 red, 1 with nobody to kill\n"), "{table}");
    }
}
