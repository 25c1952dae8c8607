//! From real files and messages to others that are nearly real.
//!
//! Apart and pure: (pool, words, chance) → bytes.

use crate::chance::Chance;

mod document;

/// A case is cut here: longer ones find nothing that these do not, but for those that nest.
pub const BYTES_MAX: usize = 24 * 1024;
/// How often something is nested at most.
const NESTED_MAX: usize = 12_000;

/// What upsets parsers whatever they parse.
const ANYWHERE: &[&str] = &[
    "",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "'",
    "''",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "${",
    "}",
    "$${",
    "${}",
    "{",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    ";",
    "--",
    "/*",
    "*/",
    "#",
    "=",
    "==",
    "!",
    "%",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e400",
    "0x",
    "NaN",
    "é",
    "ß",
    "\u{202e}",
    "\u{feff}",
    "\u{1f600}",
    "e\u{301}",
    "null",
    "true",
    "- ",
    ": ",
    "\n  ",
    "<<",
    "&a",
    "*a",
];

/// What opens, and what closes it.
const NESTS: &[(&str, &str)] = &[
    ("[", "]"),
    ("{", "}"),
    ("(", ")"),
    ("{\"a\":", "}"),
    ("{a: ", "}"),
    ("- ", ""),
    ("!", ""),
    ("-", ""),
    ("NOT ", ""),
    ("CASE WHEN ", " END"),
    ("SELECT (", ")"),
    ("BEGIN ", " END"),
    ("a.", ""),
    ("a ? ", " : b"),
    ("${", "}"),
    ("1+", ""),
    ("/*", "*/"),
    ("\n ", ""),
];

/// The words of what is real: that which is written together.
pub fn words(corpus: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'@');
    let mut words: Vec<Vec<u8>> = corpus
        .iter()
        .flat_map(|text| text.split(|byte| !is_word(byte)))
        .filter(|word| (1..=40).contains(&word.len()))
        .map(<[u8]>::to_vec)
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The next case.
pub fn case(pool: &[Vec<u8>], words: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    if chance.once_in(40) {
        let length = chance.below(512);
        return (0..length).map(|_| chance.byte()).collect();
    }
    if chance.once_in(60) {
        return of_words(words, chance);
    }
    let mut bytes = chance.of(pool).cloned().unwrap_or_default();
    if chance.once_in(2)
        && let Some(other) = document::changed(&bytes, words, chance)
    {
        return other;
    }
    let most = if chance.once_in(4) { 24 } else { 4 };
    let steps = 1 + chance.below(most);
    for _ in 0..steps {
        step(&mut bytes, pool, words, chance);
    }
    bytes.truncate(BYTES_MAX);
    if chance.once_in(200) { nested(&bytes, words, chance) } else { bytes }
}

fn of_words(words: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..chance.below(60) {
        bytes.extend(token(words, chance));
        if !chance.once_in(3) {
            bytes.push(b' ');
        }
    }
    bytes
}

fn token(words: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let word = || ANYWHERE[0].as_bytes().to_vec();
    if chance.once_in(2) {
        chance.of(words).cloned().unwrap_or_else(word)
    } else {
        chance.of(ANYWHERE).map_or_else(word, |text| text.as_bytes().to_vec())
    }
}

/// Deep where a person would write it once.
fn nested(inner: &[u8], words: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let Some((open, close)) = chance.of(NESTS) else { return inner.to_vec() };
    let depth = 1 + chance.below(NESTED_MAX);
    let mut bytes = if chance.once_in(2) { inner[..inner.len().min(200)].to_vec() } else { Vec::new() };
    let before = if chance.once_in(2) { token(words, chance) } else { Vec::new() };
    let mut whole = before;
    (0..depth).for_each(|_| whole.extend_from_slice(open.as_bytes()));
    whole.append(&mut bytes);
    if !chance.once_in(3) {
        (0..depth).for_each(|_| whole.extend_from_slice(close.as_bytes()));
    }
    whole
}

/// A place between two bytes.
fn place(bytes: &[u8], chance: &mut Chance) -> usize {
    chance.below(bytes.len() + 1)
}

/// Some of the bytes; more often few than many.
fn part(bytes: &[u8], chance: &mut Chance) -> std::ops::Range<usize> {
    let start = place(bytes, chance);
    let most = if chance.once_in(4) { bytes.len() } else { 16 };
    start..(start + chance.below(most + 1)).min(bytes.len())
}

/// A whole line, where there are lines.
fn line(bytes: &[u8], chance: &mut Chance) -> std::ops::Range<usize> {
    let at = place(bytes, chance);
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
    start..end
}

fn step(bytes: &mut Vec<u8>, pool: &[Vec<u8>], words: &[Vec<u8>], chance: &mut Chance) {
    match chance.below(11) {
        0 => {
            let at = chance.below(bytes.len());
            let mask = 1 << chance.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
        1 => {
            let (at, fresh) = (chance.below(bytes.len()), chance.byte());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = fresh;
            }
        }
        2 => drop(bytes.drain(part(bytes, chance))),
        3 => drop(bytes.drain(line(bytes, chance))),
        4 => {
            let copied = bytes[line(bytes, chance)].to_vec();
            let at = line(bytes, chance).start;
            bytes.splice(at..at, copied);
        }
        5 => {
            let copied = bytes[part(bytes, chance)].to_vec();
            let at = place(bytes, chance);
            bytes.splice(at..at, copied);
        }
        6 => {
            let at = place(bytes, chance);
            bytes.splice(at..at, token(words, chance));
        }
        7 => {
            let range = part(bytes, chance);
            bytes.splice(range, token(words, chance));
        }
        // A word for a word: the shape stays.
        8 => {
            let at = place(bytes, chance);
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let start = bytes[..at].iter().rposition(|byte| !is_word(byte)).map_or(0, |end| end + 1);
            let end = bytes[at..].iter().position(|byte| !is_word(byte)).map_or(bytes.len(), |end| at + end);
            bytes.splice(start..end, token(words, chance));
        }
        9 => {
            let Some(other) = chance.of(pool) else { return };
            let copied = other[part(other, chance)].to_vec();
            let range = part(bytes, chance);
            bytes.splice(range, copied);
        }
        _ => bytes.truncate(place(bytes, chance)),
    }
}
