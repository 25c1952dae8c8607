//! What the YAML reader stumbled over, in an operator's words: the usual slip first, the reader's own words last.

use saphyr_parser::ScanError;

use crate::diagnostic::{Diagnostic, code};

/// Looks at the line (and the one before) for what people do wrong there.
pub(super) fn explain(file: &str, text: &str, error: &ScanError) -> Diagnostic {
    let (mut line, mut column) = (error.marker().line().max(1), error.marker().col() + 1);
    let lines: Vec<&str> = text.lines().collect();
    let at = |number: usize| lines.get(number.wrapping_sub(1)).copied().unwrap_or("");
    let near = [line, line.saturating_sub(1)];

    let (message, remedy);
    if let Some(found) = near.into_iter().find(|number| indent(at(*number)).contains('\t')) {
        (line, column) = (found, indent(at(found)).find('\t').unwrap_or(0) + 1);
        (message, remedy) = ("a tab indents this line".to_owned(), "indent with spaces");
    } else if let Some(found) = near.into_iter().find(|number| bare_expression(at(*number)).is_some()) {
        (line, column) = (found, bare_expression(at(found)).unwrap_or(0) + 1);
        (message, remedy) =
            ("${…} stands without quotes between { and }".to_owned(), "put it in quotes: { name: \"${vars.name}\" }");
    } else if let Some(found) = near.into_iter().find(|number| second_colon(at(*number)).is_some()) {
        (line, column) = (found, second_colon(at(found)).unwrap_or(0) + 1);
        (message, remedy) =
            ("a second \": \" stands in this line".to_owned(), "put the text after the first one in quotes");
    } else if let Some(found) = open_quote(&lines, line) {
        (line, column) = found;
        (message, remedy) = (
            "a quote begins here and does not end".to_owned(),
            "close it; a quote inside quotes is doubled ('') or \\\"",
        );
    } else if error.info().contains("trailing content") {
        (message, remedy) = (
            "text stands after a closing quote".to_owned(),
            "put the quotes around the whole of it, or leave them out",
        );
    } else if let Some(found) = near.into_iter().find(|number| unclosed(at(*number)).is_some()) {
        (line, column) = (found, unclosed(at(found)).unwrap_or(0) + 1);
        (message, remedy) = (
            "a { or [ begins here and is not closed".to_owned(),
            "close it on this line, or write one key a line without { }",
        );
    } else if error.info().contains("flow") {
        (message, remedy) = (
            "a comma is missing between { and }, or [ and ]".to_owned(),
            "write { key: value, key: value } or [first, second]",
        );
    } else if let Some(found) = near.into_iter().find(|number| glued_colon(at(*number)).is_some()) {
        (line, column) = (found, glued_colon(at(found)).unwrap_or(0) + 1);
        (message, remedy) = ("a key's colon is missing, or the space after it".to_owned(), "write key: value");
    } else if error.info().contains("block") || error.info().contains("indent") {
        (message, remedy) = (
            "the indentation of this line fits none of the lines above it".to_owned(),
            "indent it as far as the line that it belongs beside; the keys of one step stand in one column",
        );
    } else {
        message = format!("this is not YAML ({})", error.info());
        remedy =
            "a key and its value are written key: value; what belongs to a key is indented by two spaces more than it";
    }
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Diagnostic {
        file: file.to_owned(),
        line: number(line),
        column: number(column),
        code: code::YAML,
        message,
        remedy: remedy.to_owned(),
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// Where an unquoted `${` stands inside `{ }` or `[ ]`, counted in characters.
fn bare_expression(line: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0usize);
    let chars: Vec<char> = line.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        match (quote, c) {
            (Some(open), c) if *c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(*c),
            (None, '$') if depth > 0 && chars.get(at + 1) == Some(&'{') => return Some(at),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Where the second unquoted `: ` of a line without braces stands, counted in characters.
fn second_colon(line: &str) -> Option<usize> {
    if line.contains(['"', '\'', '{', '[']) {
        return None;
    }
    let chars: Vec<char> = line.chars().collect();
    let colon = |at: &usize| chars[*at] == ':' && chars.get(at + 1).is_none_or(|next| *next == ' ');
    (0..chars.len()).filter(colon).nth(1)
}

/// The line before `line` (or itself) on which a double quote was opened and never closed.
fn open_quote(lines: &[&str], line: usize) -> Option<(usize, usize)> {
    let first = line.saturating_sub(200);
    (first..line.min(lines.len())).find_map(|index| {
        let text = lines[index].trim_start();
        if text.starts_with('#') {
            return None;
        }
        let value = text.split_once(": ").map_or(text, |(_, value)| value).trim_start_matches("- ").trim();
        let open = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let closed = value.len() > 1 && value[1..].contains(open);
        (!closed).then(|| (index + 1, lines[index].chars().take_while(|c| *c != open).count() + 1))
    })
}

/// Where `key:value` or `key value` stands in place of `key: value`, counted in characters.
fn glued_colon(line: &str) -> Option<usize> {
    let text = line.trim_start().trim_start_matches("- ").trim_end();
    if text.is_empty()
        || text.starts_with(['#', '"', '\''])
        || text.contains(": ")
        || text.ends_with(':')
        || text == "-"
    {
        return None;
    }
    Some(line.chars().count() - line.trim_start().trim_start_matches("- ").chars().count())
}

/// Where the last `{` or `[` stands that its line does not close, counted in characters.
fn unclosed(line: &str) -> Option<usize> {
    let (mut quote, mut open) = (None, Vec::new());
    for (at, c) in line.chars().enumerate() {
        match (quote, c) {
            (Some(inside), c) if c == inside => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{' | '[') => open.push(at),
            (None, '}' | ']') => {
                open.pop();
            }
            (None, '#') => break,
            _ => {}
        }
    }
    open.last().copied()
}
