//! All cells, and which of them are run: by name, by party, by moment, a part of them, or the part that is this commit's turn.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{
    cell::Cell,
    party::{Moment, Party},
    procedure::RUNBOOKS,
};

/// The number that says whose turn it is, where the commit does not.
pub const SLICE_VARIABLE: &str = "CRASHES_SLICE";
/// From one commit to the next the turn goes so many parts on, so that each goes to another product. It has no divisor with the number
/// of parts in common (there is a test): after as many commits as there are parts, each has had its turn.
const STRIDE: u64 = 37;

/// Every runbook, party and moment, in this order; also those without a victim.
pub fn all() -> Vec<Cell> {
    let moments = |runbook, party| Moment::ALL.map(|moment| Cell { runbook, party, moment });
    RUNBOOKS.iter().flat_map(|runbook| Party::ALL.into_iter().flat_map(move |party| moments(*runbook, party))).collect()
}

/// What of it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Runbooks or products, each by the beginning of its name; all without any.
    pub only: Vec<String>,
    pub parties: Vec<Party>,
    pub moments: Vec<Moment>,
    pub part: Option<Part>,
}

/// The `number`th of so many parts of nearly the same size, from 1. Neighbours stay together, so that they share a run without accidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub number: usize,
    pub of: usize,
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(one, all)| Some((one.parse().ok()?, all.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("a part is named K/N, with K from 1 to N".to_owned()),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Part {
    fn of_cells(self, cells: &[Cell]) -> Vec<Cell> {
        let edge = |number: usize| cells.len() * number / self.of;
        cells[edge(self.number - 1)..edge(self.number)].to_vec()
    }
}

impl Selection {
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let known = |name: &String| RUNBOOKS.iter().any(|runbook| runbook.id().starts_with(name.as_str()));
        if let Some(unknown) = self.only.iter().find(|name| !known(name)) {
            let names: Vec<String> = RUNBOOKS.iter().map(|runbook| runbook.id()).collect();
            anyhow::bail!("there is no runbook {unknown}; there are {}", names.join(", "));
        }
        let mut cells = all();
        cells.retain(|cell| {
            (self.only.is_empty() || self.only.iter().any(|name| cell.runbook.id().starts_with(name.as_str())))
                && (self.parties.is_empty() || self.parties.contains(&cell.party))
                && (self.moments.is_empty() || self.moments.contains(&cell.moment))
        });
        Ok(match self.part {
            Some(part) => part.of_cells(&cells),
            None => cells,
        })
    }
}

/// So many turns there are: two moments of a party in a runbook each.
pub fn turns() -> usize {
    RUNBOOKS.len() * Party::ALL.len() * 2
}

/// Whose turn a number is. A part in which nobody can be killed gives its turn to the next.
pub fn turn(number: u64) -> (Part, Vec<Cell>) {
    let (cells, of) = (all(), turns());
    let first = (number.wrapping_mul(STRIDE) % of as u64) as usize;
    (0..of)
        .map(|further| Part { number: 1 + (first + further) % of, of })
        .map(|part| (part, part.of_cells(&cells)))
        .find(|(_, cells)| cells.iter().any(|cell| cell.without_victim().is_none()))
        .expect("somebody can be killed in some cell")
}

/// The number of this commit, and where it is from.
pub fn number() -> Result<(u64, String)> {
    if let Ok(text) = std::env::var(SLICE_VARIABLE) {
        let number = text.parse().with_context(|| format!("{SLICE_VARIABLE}={text:?} is no number"))?;
        return Ok((number, format!("{SLICE_VARIABLE}={number}")));
    }
    if git(&["rev-parse", "--is-shallow-repository"])? == "true" {
        // Its commits cannot be counted; any number is a turn.
        let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        let number = u64::from_str_radix(&commit, 16).with_context(|| format!("a commit: {commit:?}"))?;
        return Ok((number, format!("commit {commit}, since this clone is shallow")));
    }
    let count = git(&["rev-list", "--count", "HEAD"])?;
    let number = count.parse().with_context(|| format!("a number of commits: {count:?}"))?;
    Ok((number, format!("the {number}th commit")))
}

/// The commit, and whether it is quite that.
pub fn commit() -> Result<String> {
    git(&["describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"])
}

fn git(arguments: &[&str]) -> Result<String> {
    let what = || format!("git {}", arguments.join(" "));
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.with_context(what)?;
    ensure!(output.status.success(), "{}: {}", what(), String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    /// `deploy/runbooks` has no runbook that the matrix does not know.
    #[test]
    fn every_shipped_runbook_is_in_it() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/runbooks");
        let mut found = BTreeSet::new();
        for product in std::fs::read_dir(shipped).unwrap().flatten() {
            for file in std::fs::read_dir(product.path()).unwrap().flatten() {
                let name = file.file_name().into_string().unwrap();
                if let Some(name) = name.strip_suffix(".yaml").filter(|name| !name.starts_with("group")) {
                    found.insert(format!("{}/{name}", product.file_name().into_string().unwrap()));
                }
            }
        }
        let known: BTreeSet<String> = RUNBOOKS.iter().map(|runbook| runbook.id()).collect();
        assert_eq!(known, found);
    }

    #[test]
    fn parts_are_all_of_it_and_nothing_twice() {
        let cells = all();
        for of in [1, 2, 7, turns(), cells.len(), cells.len() + 3] {
            let parts: Vec<Cell> = (1..=of).flat_map(|number| Part { number, of }.of_cells(&cells)).collect();
            assert_eq!(parts, cells, "{of}");
        }
    }

    #[test]
    fn after_as_many_commits_as_there_are_turns_every_cell_with_a_victim_was_run() {
        let of = turns() as u64;
        let run: BTreeSet<Cell> = (1000..1000 + of).flat_map(|number| turn(number).1).collect();
        let missed: Vec<String> =
            all().iter().filter(|cell| cell.without_victim().is_none() && !run.contains(cell)).map(Cell::id).collect();
        assert_eq!(missed, [""; 0]);
    }

    #[test]
    fn a_turn_is_small_and_of_one_runbook() {
        for number in 0..turns() as u64 {
            let (_, cells) = turn(number);
            let runbooks: BTreeSet<_> = cells.iter().map(|cell| cell.runbook).collect();
            assert_eq!((cells.len(), runbooks.len()), (2, 1), "{cells:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_runbooks_is_refused() {
        let selection = Selection { only: vec!["avaya-pom/failover".to_owned()], ..Selection::default() };
        assert!(selection.cells().unwrap_err().to_string().contains("avaya-pom/switchover"));
        let selection = Selection {
            only: vec!["avaya-pom/switchover".to_owned()],
            parties: vec![Party::Leader],
            moments: vec![Moment::Before],
            ..Selection::default()
        };
        assert_eq!(selection.cells().unwrap().len(), 1);
    }
}
