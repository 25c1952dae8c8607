//! A `.properties` file as bytes that can be edited without touching what was not meant.
//!
//! Apart and pure, because the whole promise is in here: comments, order, spacing, line ends, escapes and a missing last
//! line end stay byte for byte. It must never write a byte that no edit asked for.
//!
//! The rules are those of `java.util.Properties.load`: comments with `#` or `!`, separators `=`, `:` or white space,
//! escapes and `\uXXXX`, lines that go on after an odd number of backslashes; where a key stands twice, the last one holds.

use super::escapes::{decode, encode_key, encode_value, is_blank, leading_blank};

/// A file, cut into pieces that together are the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pieces: Vec<Piece>,
    /// Values may be written as UTF-8, because the file already is.
    utf8: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// A comment or an empty line, with its end.
    Other(Vec<u8>),
    Entry(Entry),
}

/// A logical line: `before key separator value end` is how it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    before: Vec<u8>,
    key: Vec<u8>,
    separator: Vec<u8>,
    value: Vec<u8>,
    end: Vec<u8>,
}

impl Document {
    /// Every sequence of bytes is such a file; [`Document::to_bytes`] gives the same bytes again.
    pub fn parse(bytes: &[u8]) -> Self {
        let utf8 = !bytes.is_ascii() && std::str::from_utf8(bytes).is_ok();
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = leading_blank(rest);
            let comment = matches!(rest.get(start), Some(b'#' | b'!'));
            let empty = matches!(rest.get(start), None | Some(b'\n' | b'\r'));
            let (content, end) = if comment || empty { physical_line(rest) } else { logical_line(rest) };
            let (line, after) = rest.split_at(content + end);
            pieces.push(if comment || empty {
                Piece::Other(line.to_vec())
            } else {
                Piece::Entry(Entry::parse(&line[..content], &line[content..]))
            });
            rest = after;
        }
        Self { pieces, utf8 }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Other(line) => bytes.extend_from_slice(line),
                Piece::Entry(entry) => entry.write(&mut bytes),
            }
        }
        bytes
    }

    /// The value that holds for a key, as a program reads it.
    pub fn get(&self, key: &str) -> Option<String> {
        self.entries().rev().find(|entry| entry.key_text() == key).map(Entry::value_text)
    }

    /// Every key, in the order of the file; one that stands twice twice.
    #[cfg(test)]
    fn keys(&self) -> Vec<String> {
        self.entries().map(Entry::key_text).collect()
    }

    /// Sets the value that holds; a missing key is added at the end. Whether anything changed.
    pub fn set(&mut self, key: &str, value: &str) -> bool {
        let utf8 = self.utf8;
        match self.holding(key) {
            Some(entry) if entry.value_text() == value => false,
            Some(entry) => {
                entry.make_room();
                entry.value = encode_value(value, utf8, !entry.has_sign());
                true
            }
            None => {
                self.append(key, value);
                true
            }
        }
    }

    /// Takes out every line of a key: an earlier one would come to hold otherwise.
    pub fn unset(&mut self, key: &str) -> bool {
        let before = self.pieces.len();
        self.pieces.retain(|piece| !matches!(piece, Piece::Entry(entry) if entry.key_text() == key));
        before != self.pieces.len()
    }

    /// Takes an item out of comma-separated values: of one key, or of every key (`*`). The rest keeps order and spacing.
    pub fn remove_from_list(&mut self, key: &str, item: &str) -> bool {
        let mut changed = false;
        for entry in self.entries_mut().filter(|entry| key == "*" || entry.key_text() == key) {
            changed |= entry.remove_item(item);
        }
        changed
    }

    /// Appends an item to a comma-separated value where it is missing; a missing key is added.
    pub fn add_to_list(&mut self, key: &str, item: &str) -> bool {
        let utf8 = self.utf8;
        let Some(entry) = self.holding(key) else {
            self.append(key, item);
            return true;
        };
        if items(&entry.value).iter().any(|part| decode(part).trim() == item) {
            return false;
        }
        if entry.value_text().trim().is_empty() {
            entry.make_room();
            entry.value = encode_value(item, utf8, !entry.has_sign());
            return true;
        }
        // As the list is written already: with a blank after the comma, or without.
        let gap = items(&entry.value).get(1).is_some_and(|second| second.starts_with(b" "));
        // Blanks at the end of the line belong to the last item as programs read it, and stay with it.
        entry.value.extend_from_slice(if gap { b", " } else { b"," });
        entry.value.extend(encode_value(item, utf8, false));
        true
    }

    fn append(&mut self, key: &str, value: &str) {
        let end = self.line_end();
        let last_end = match self.pieces.last_mut() {
            Some(Piece::Other(line)) if !ends_line(line) => Some(line),
            Some(Piece::Entry(entry)) if entry.end.is_empty() => Some(&mut entry.end),
            _ => None,
        };
        // A last line without an end stays the style of the file: the new last line has none either.
        let unended = last_end.is_some();
        if let Some(last_end) = last_end {
            last_end.extend_from_slice(&end);
        }
        // A backslash at the very end would swallow the new line; an empty line after it ends what it began.
        if let Some(Piece::Entry(entry)) = self.pieces.last_mut()
            && goes_on(&[entry.separator.as_slice(), &entry.value].concat(), &entry.key)
        {
            entry.end.extend_from_slice(&end);
        }
        let entry = Entry {
            before: Vec::new(),
            key: encode_key(key, self.utf8),
            separator: b"=".to_vec(),
            value: encode_value(value, self.utf8, false),
            end: if unended { Vec::new() } else { end },
        };
        self.pieces.push(Piece::Entry(entry));
    }

    /// How the file ends its lines; a new file, with a line feed.
    fn line_end(&self) -> Vec<u8> {
        let ended = self.pieces.iter().rev().find_map(|piece| {
            let line = match piece {
                Piece::Other(line) => line,
                Piece::Entry(entry) => &entry.end,
            };
            [b"\r\n".as_slice(), b"\n", b"\r"].into_iter().find(|end| line.ends_with(end))
        });
        ended.unwrap_or(b"\n").to_vec()
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Entry(entry) => Some(entry),
            Piece::Other(_) => None,
        })
    }

    /// The entry whose value holds.
    fn holding(&mut self, key: &str) -> Option<&mut Entry> {
        let holds = |piece: &Piece| matches!(piece, Piece::Entry(entry) if entry.key_text() == key);
        let at = self.pieces.iter().rposition(holds)?;
        match &mut self.pieces[at] {
            Piece::Entry(entry) => Some(entry),
            Piece::Other(_) => None,
        }
    }

    fn entries_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Entry> {
        self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Entry(entry) => Some(entry),
            Piece::Other(_) => None,
        })
    }
}

impl Entry {
    fn parse(line: &[u8], end: &[u8]) -> Self {
        let start = leading_blank(line);
        let mut at = start;
        while at < line.len() {
            match line[at] {
                b'\\' => at += after_backslash(&line[at..]),
                b'=' | b':' => break,
                byte if is_blank(byte) => break,
                _ => at += 1,
            }
        }
        let at = at.min(line.len());
        let (key, rest) = (&line[start..at], &line[at..]);
        let mut separator = blank_run(rest);
        if matches!(rest.get(separator), Some(b'=' | b':')) {
            separator += 1;
            separator += blank_run(&rest[separator..]);
        }
        Self {
            before: line[..start].to_vec(),
            key: key.to_vec(),
            separator: rest[..separator].to_vec(),
            value: rest[separator..].to_vec(),
            end: end.to_vec(),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        for part in [&self.before, &self.key, &self.separator, &self.value, &self.end] {
            bytes.extend_from_slice(part);
        }
    }

    fn key_text(&self) -> String {
        decode(&self.key)
    }

    fn value_text(&self) -> String {
        decode(&self.value)
    }

    /// Whether the separator holds `=` or `:`; white space alone separates too.
    fn has_sign(&self) -> bool {
        self.separator.iter().any(|byte| matches!(byte, b'=' | b':'))
    }

    /// Gives a key without a separator one. A backslash at its very end means nothing, but would escape the separator.
    fn make_room(&mut self) {
        if self.separator.is_empty() {
            if goes_on(b"", &self.key) {
                self.key.pop();
            }
            self.separator = b"=".to_vec();
        }
    }

    fn remove_item(&mut self, item: &str) -> bool {
        let mut parts: Vec<Vec<u8>> = items(&self.value).into_iter().map(<[u8]>::to_vec).collect();
        let mut changed = false;
        while let Some(at) = parts.iter().position(|part| decode(part).trim() == item) {
            let removed = parts.remove(at);
            // The new first item stands where the old one stood, not where a blank after the comma had put it.
            if at == 0
                && let Some(first) = parts.first_mut()
            {
                *first = [&removed[..blank_run(&removed)], &first[blank_run(first)..]].concat();
            }
            changed = true;
        }
        if changed {
            self.value = parts.join(&b',');
        }
        changed
    }
}

fn items(value: &[u8]) -> Vec<&[u8]> {
    value.split(|byte| *byte == b',').collect()
}

fn ends_line(line: &[u8]) -> bool {
    matches!(line.last(), Some(b'\n' | b'\r'))
}

/// Lengths of a line's content and of its end.
fn physical_line(bytes: &[u8]) -> (usize, usize) {
    let content = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
    (content, end_length(&bytes[content..]))
}

fn end_length(bytes: &[u8]) -> usize {
    match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => 0,
    }
}

/// As [`physical_line`], with the lines that follow after an odd number of backslashes.
fn logical_line(bytes: &[u8]) -> (usize, usize) {
    let mut from = 0;
    loop {
        let (content, end) = physical_line(&bytes[from..]);
        let stop = from + content;
        let backslashes = bytes[from..stop].iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 || end == 0 || stop + end == bytes.len() {
            return (stop, end);
        }
        from = stop + end;
    }
}

/// Whether a line, of which these are the last parts, would go on if another one followed.
fn goes_on(tail: &[u8], key: &[u8]) -> bool {
    let whole = [key, tail].concat();
    whole.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// How many bytes a backslash and what belongs to it take; a line's end takes the next line's white space with it.
fn after_backslash(bytes: &[u8]) -> usize {
    match end_length(&bytes[1..]) {
        0 => 2,
        end => 1 + end + leading_blank(&bytes[1 + end..]),
    }
}

/// White space, including lines that go on.
fn blank_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        if is_blank(bytes[at]) {
            at += 1;
        } else if bytes[at] == b'\\' && at + 1 < bytes.len() && end_length(&bytes[at + 1..]) > 0 {
            at += after_backslash(&bytes[at..]);
        } else {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests;
