//! From a file's text to a group or a runbook, or to everything that is wrong with it.
//!
//! The shape (keys, types, names) is read by the types' own JSON Schemas, so that what is checked, what is published for
//! editors and what is decoded cannot drift apart. What a schema cannot say is checked on the same tree, with its positions.

use crate::{
    diagnostic::{Diagnostic, code, settle},
    group::Group,
    runbook::Runbook,
    yaml::{self, Position},
};

mod component;
mod group;
pub(crate) mod names;
pub(crate) mod rules;
mod runbook;
mod sample;
mod shape;
mod step;

use names::Uses;

/// Reads a group file. `path` is for messages only.
pub fn parse_group(path: &str, text: &str) -> Result<Group, Vec<Diagnostic>> {
    let (group, _, faults) = read_group(path, text);
    group.filter(|_| faults.is_empty()).ok_or_else(|| settle(faults))
}

/// Reads a runbook file. `path` is for messages only.
pub fn parse_runbook(path: &str, text: &str) -> Result<Runbook, Vec<Diagnostic>> {
    let (runbook, _, faults) = read_runbook(path, text);
    runbook.filter(|_| faults.is_empty()).ok_or_else(|| settle(faults))
}

/// A group, where its parts stand, and its faults. A group with faults may still come out, for checks across files.
pub(crate) fn read_group(path: &str, text: &str) -> (Option<Group>, Uses, Vec<Diagnostic>) {
    let mut faults = Faults::new(path);
    let mut uses = Uses::default();
    let group = match yaml::parse(path, text) {
        Ok(root) => group::read(&root, &mut uses, &mut faults),
        Err(found) => {
            faults.list = found;
            None
        }
    };
    (group, uses, faults.list)
}

/// A runbook, the names it uses, and its faults.
pub(crate) fn read_runbook(path: &str, text: &str) -> (Option<Runbook>, Uses, Vec<Diagnostic>) {
    let mut faults = Faults::new(path);
    let mut uses = Uses::default();
    let runbook = match yaml::parse(path, text) {
        Ok(root) => runbook::read(&root, text, &mut uses, &mut faults),
        Err(found) => {
            faults.list = found;
            None
        }
    };
    (runbook, uses, faults.list)
}

/// What is wrong with one file, as it is found.
pub(crate) struct Faults<'a> {
    file: &'a str,
    pub(crate) list: Vec<Diagnostic>,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self { file, list: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        at: Position,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.list.push(Diagnostic {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            code,
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// A name that is nowhere defined, with the nearest that is, or all.
    pub(crate) fn unknown_name<'n>(
        &mut self,
        at: Position,
        message: impl Into<String>,
        written: &str,
        known: impl IntoIterator<Item = &'n str>,
        nothing: &str,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let remedy = match crate::diagnostic::nearest(written, known.iter().copied()) {
            Some(name) => format!("did you mean {name:?}?"),
            None if known.is_empty() => nothing.to_owned(),
            None => format!("there are {}", listed(&known)),
        };
        self.add(at, code::UNKNOWN_NAME, message, remedy);
    }
}

/// At most fifteen names.
pub(crate) fn listed(names: &[&str]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        1..=15 => names.join(", "),
        more => format!("{} and {} more", names[..15].join(", "), more - 15),
    }
}
