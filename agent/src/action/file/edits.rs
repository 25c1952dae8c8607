//! What each action wants a file to hold.
//!
//! Apart because they decide and never write.

use async_trait::async_trait;
use baton_model::action::file::{Copy, Line, Properties, Replace, Template};
use baton_model::outcome::Fault;
use baton_model::text::Text;
use regex::bytes::Regex;

use super::diff::Hidden;
use super::properties::Document;
use super::{Edit, Original, Wanted};
use crate::action::Context;

fn wanted(bytes: Vec<u8>, summary: impl Into<String>) -> Wanted {
    Wanted { bytes, mode: None, hidden: Hidden::default(), summary: summary.into() }
}

fn senseless(message: String, remedy: &str) -> Fault {
    Fault::new("BTN-0524", message, remedy)
}

/// Edits that contradict each other have no right order.
pub fn check_properties(edits: &Properties) -> Result<(), Fault> {
    if edits.set.is_empty()
        && edits.unset.is_empty()
        && edits.remove_from_list.is_empty()
        && edits.add_to_list.is_empty()
    {
        let message = format!("file.properties of {} asks for no edit.", edits.path);
        return Err(senseless(message, "Give set, unset, remove_from_list or add_to_list."));
    }
    if let Some(key) =
        edits.unset.iter().find(|key| edits.set.contains_key(*key) || edits.add_to_list.contains_key(*key))
    {
        let message = format!("file.properties of {} sets the key {key:?} and takes it out.", edits.path);
        return Err(senseless(message, "Keep one of the two."));
    }
    let both = edits.remove_from_list.iter().find_map(|(key, gone)| {
        let added =
            edits.add_to_list.iter().filter(|(other, _)| key == "*" || *other == key).flat_map(|(_, items)| items);
        added.into_iter().find(|item| gone.contains(item))
    });
    if let Some(item) = both {
        let message = format!("file.properties of {} adds {item:?} to a list and takes it out.", edits.path);
        return Err(senseless(message, "Keep one of the two."));
    }
    if edits.add_to_list.contains_key("*") {
        let message = format!("file.properties of {} adds to the list of every key.", edits.path);
        return Err(senseless(message, "Name the key; * is for remove_from_list."));
    }
    Ok(())
}

#[async_trait]
impl Edit for Properties {
    fn path(&self) -> &str {
        &self.path
    }

    async fn wanted(&self, original: &Original, context: &Context) -> Result<Wanted, Fault> {
        let mut document = Document::parse(original.required(&self.path)?);
        let mut hidden = Hidden::default();
        let mut done = Vec::new();
        for (key, text) in &self.set {
            let value = context.resolve(text).await?;
            if text.plain().is_none() {
                hidden.values.extend(document.get(key));
            }
            if document.set(key, value.expose()) {
                done.push(format!("set {key}"));
            }
        }
        for key in self.unset.iter().filter(|key| document.unset(key)) {
            done.push(format!("took out {key}"));
        }
        for (key, items) in &self.remove_from_list {
            for item in items.iter().filter(|item| document.remove_from_list(key, item)) {
                done.push(format!("took {item} out of {}", if key == "*" { "every list" } else { key }));
            }
        }
        for (key, items) in &self.add_to_list {
            for item in items.iter().filter(|item| document.add_to_list(key, item)) {
                done.push(format!("added {item} to {key}"));
            }
        }
        Ok(Wanted { hidden, ..wanted(document.to_bytes(), done.join(", ")) })
    }
}

/// `file.line` with its expression compiled.
pub struct LineEdit {
    parameters: Line,
    matching: Option<Regex>,
}

impl LineEdit {
    pub fn new(parameters: &Line) -> Result<Self, Fault> {
        if parameters.line.contains(['\n', '\r']) {
            let message = format!("file.line of {} has a line end in its line.", parameters.path);
            return Err(senseless(message, "Give one line, or use file.replace."));
        }
        let compile = |text: &String| {
            Regex::new(text).map_err(|error| {
                let message =
                    format!("file.line of {}: matching {text:?} is no regular expression: {error}.", parameters.path);
                senseless(message, "Correct the expression.")
            })
        };
        let matching = parameters.matching.as_ref().map(compile).transpose()?;
        Ok(Self { parameters: parameters.clone(), matching })
    }
}

/// A line's content and its end.
fn content_and_end(line: &[u8]) -> (&[u8], &[u8]) {
    let end = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
    line.split_at(line.len() - end)
}

#[async_trait]
impl Edit for LineEdit {
    fn path(&self) -> &str {
        &self.parameters.path
    }

    async fn wanted(&self, original: &Original, _: &Context) -> Result<Wanted, Fault> {
        let Line { path, line, absent, .. } = &self.parameters;
        let bytes = match (original.bytes.as_deref(), absent) {
            (None, true) => &[],
            _ => original.required(path)?,
        };
        let line = line.as_bytes();
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let matches = |whole: &&[u8]| {
            let (content, _) = content_and_end(whole);
            self.matching.as_ref().is_some_and(|matching| matching.is_match(content))
        };
        let same = |whole: &&[u8]| content_and_end(whole).0 == line;
        if *absent {
            // With an expression the line itself is only what it is called.
            let gone = |whole: &&[u8]| if self.matching.is_some() { matches(whole) } else { same(whole) };
            let left: Vec<&[u8]> = lines.iter().copied().filter(|whole| !gone(whole)).collect();
            let count = lines.len() - left.len();
            return Ok(wanted(left.concat(), format!("took out {count} line(s)")));
        }
        let found: Vec<usize> = (0..lines.len()).filter(|at| matches(&lines[*at])).collect();
        if found.len() > 1 && !found.iter().all(|at| same(&lines[*at])) {
            let numbers = found.iter().take(8).map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(", ");
            return Err(Fault::new(
                "BTN-0526",
                format!("the expression matches {} lines of {path}: {numbers}.", found.len()),
                "Make the expression match one line, or use a step for each.",
            ));
        }
        if let Some(at) = found.first().filter(|at| !same(&lines[**at])) {
            let (_, end) = content_and_end(lines[*at]);
            let replaced = [&lines[..*at].concat(), line, end, &lines[at + 1..].concat()].concat();
            return Ok(wanted(replaced, format!("replaced line {}", at + 1)));
        }
        if !found.is_empty() || lines.iter().any(same) {
            return Ok(wanted(bytes.to_vec(), "the line was there"));
        }
        let end: &[u8] = if lines.first().is_some_and(|first| first.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" };
        // A last line without an end stays the style of the file.
        let appended = match lines.last() {
            Some(last) if !last.ends_with(b"\n") => [bytes, end, line].concat(),
            _ => [bytes, line, end].concat(),
        };
        Ok(wanted(appended, "added a line at the end"))
    }
}

pub fn check_replace(replace: &Replace) -> Result<(), Fault> {
    if replace.find.is_empty() {
        return Err(senseless(
            format!("file.replace of {} looks for nothing.", replace.path),
            "Give the text to find.",
        ));
    }
    Ok(())
}

/// Where `find` stands, and how often `with` already does. `with` may hold `find`: what was replaced is not found again.
fn occurrences(bytes: &[u8], find: &[u8], with: &[u8]) -> (Vec<usize>, usize) {
    let (mut found, mut done, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        if !with.is_empty() && rest.starts_with(with) {
            done += 1;
            at += with.len();
        } else if rest.starts_with(find) {
            found.push(at);
            at += find.len();
        } else {
            at += 1;
        }
    }
    (found, done)
}

#[async_trait]
impl Edit for Replace {
    fn path(&self) -> &str {
        &self.path
    }

    async fn wanted(&self, original: &Original, _: &Context) -> Result<Wanted, Fault> {
        let bytes = original.required(&self.path)?;
        let (find, with) = (self.find.as_bytes(), self.with.as_bytes());
        let (found, done) = occurrences(bytes, find, with);
        let expected = self.count.map(|count| count as usize);
        let in_place = found.is_empty() && expected.map_or(done > 0, |count| done >= count);
        if in_place || (found.is_empty() && with.is_empty()) {
            return Ok(wanted(bytes.to_vec(), "it was replaced already"));
        }
        if found.is_empty() || expected.is_some_and(|count| count != found.len()) {
            let wished = expected.map_or("at least once".to_owned(), |count| format!("{count} times"));
            return Err(Fault::new(
                "BTN-0525",
                format!("the text to replace stands {} times in {}, expected {wished}.", found.len(), self.path),
                "Look at the file: it is not the one that the runbook was written for.",
            ));
        }
        let mut replaced = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for at in &found {
            replaced.extend_from_slice(&bytes[from..*at]);
            replaced.extend_from_slice(with);
            from = at + find.len();
        }
        replaced.extend_from_slice(&bytes[from..]);
        Ok(wanted(replaced, format!("replaced {} times", found.len())))
    }
}

pub fn mode_of(template: &Template) -> Result<Option<u32>, Fault> {
    let parse = |text: &String| {
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
            let message = format!("file.template of {}: {text:?} is not a file's mode.", template.path);
            senseless(message, "Write it in octal digits, as in 0640.")
        })
    };
    template.mode.as_ref().map(parse).transpose()
}

#[async_trait]
impl Edit for Template {
    fn path(&self) -> &str {
        &self.path
    }

    async fn wanted(&self, _: &Original, context: &Context) -> Result<Wanted, Fault> {
        let content = context.resolve(&self.content).await?;
        let hidden = Hidden { everything: matches!(self.content, Text::Pieces { .. }), ..Hidden::default() };
        let bytes = content.expose().as_bytes().to_vec();
        Ok(Wanted { mode: mode_of(self)?, hidden, ..wanted(bytes, "written") })
    }
}

#[async_trait]
impl Edit for Copy {
    fn path(&self) -> &str {
        &self.to
    }

    async fn wanted(&self, _: &Original, context: &Context) -> Result<Wanted, Fault> {
        let source = Original::read(&context.policy().check_path(&self.from)?)?;
        let bytes = source.required(&self.from)?.to_vec();
        Ok(Wanted { mode: Some(source.mode), ..wanted(bytes, format!("copied from {}", self.from)) })
    }
}
