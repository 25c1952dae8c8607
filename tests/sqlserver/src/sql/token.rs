//! T-SQL's words: names, strings, numbers, variables, signs.
//!
//! Apart from the grammar, which never looks at characters. It must never panic, whatever bytes a client sends.

use crate::world::SqlError;

#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub kind: Kind,
    /// Of its first character, from 1.
    pub line: i32,
    /// Byte offsets in the text.
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A bare word.
    Word(String),
    /// `[name]` or `"name"`.
    Quoted(String),
    Text {
        value: String,
        national: bool,
    },
    Number(String),
    Binary(Vec<u8>),
    /// `@name`, with its sign.
    Variable(String),
    /// `@@name`, with its signs.
    Global(String),
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 27] = [
    "<>", "<=", ">=", "!=", "!<", "!>", "+=", "-=", "::", "(", ")", ",", ";", ".", "=", "<", ">", "+", "-", "*", "/",
    "%", "&", "|", "^", "~", ":",
];

pub fn tokens(text: &str) -> Result<Vec<Token>, SqlError> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut line = 1;
    let bytes = text.as_bytes();
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() || first == '\u{feff}' || first == '\0' {
            line += i32::from(first == '\n');
            at += first.len_utf8();
            continue;
        }
        if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if rest.starts_with("/*") {
            let length = comment(rest)?;
            line += newlines(&rest[..length]);
            at += length;
            continue;
        }
        let (kind, length) = one(rest, first, bytes.get(at + 1).copied())?;
        found.push(Token { kind, line, start: at, end: at + length });
        line += newlines(&rest[..length]);
        at += length;
    }
    found.push(Token { kind: Kind::End, line, start: text.len(), end: text.len() });
    Ok(found)
}

fn newlines(text: &str) -> i32 {
    i32::try_from(text.matches('\n').count()).unwrap_or(i32::MAX)
}

/// Comments nest.
fn comment(rest: &str) -> Result<usize, SqlError> {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => at += 1,
        }
    }
    Err(SqlError::new(113, &[]))
}

fn one(rest: &str, first: char, second: Option<u8>) -> Result<(Kind, usize), SqlError> {
    if first == '\'' {
        let (value, length) = quoted(&rest[1..], '\'').ok_or_else(|| unclosed(rest))?;
        return Ok((Kind::Text { value, national: false }, length + 1));
    }
    if matches!(first, 'N' | 'n') && second == Some(b'\'') {
        let (value, length) = quoted(&rest[2..], '\'').ok_or_else(|| unclosed(rest))?;
        return Ok((Kind::Text { value, national: true }, length + 2));
    }
    if first == '[' || first == '"' {
        let close = if first == '[' { ']' } else { '"' };
        let (value, length) = quoted(&rest[1..], close).ok_or_else(|| unclosed(rest))?;
        return Ok((Kind::Quoted(value), length + 1));
    }
    if rest.starts_with("0x") || rest.starts_with("0X") {
        let digits: String = rest[2..].chars().take_while(char::is_ascii_hexdigit).collect();
        let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.clone() };
        let bytes =
            (0..padded.len()).step_by(2).map(|at| u8::from_str_radix(&padded[at..at + 2], 16).unwrap_or(0)).collect();
        return Ok((Kind::Binary(bytes), 2 + digits.len()));
    }
    if first.is_ascii_digit() || (first == '.' && second.is_some_and(|byte| byte.is_ascii_digit())) {
        return Ok(number(rest));
    }
    if first == '@' {
        let globals = usize::from(rest.starts_with("@@")) + 1;
        let name: String = rest[globals..].chars().take_while(|letter| is_name(*letter)).collect();
        let length = globals + name.len();
        let whole = rest[..length].to_owned();
        return Ok((if globals == 2 { Kind::Global(whole) } else { Kind::Variable(whole) }, length));
    }
    if first.is_alphabetic() || first == '_' || first == '#' {
        let name: String = rest.chars().take_while(|letter| is_name(*letter)).collect();
        let length = name.len();
        return Ok((Kind::Word(name), length));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Kind::Sign(sign), sign.len())),
        None => Err(SqlError::syntax(&first.to_string())),
    }
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '#' | '$' | '@')
}

fn unclosed(rest: &str) -> SqlError {
    SqlError::new(105, &[&rest.chars().skip(1).take(40).collect::<String>()])
}

/// The text up to a closing sign, doubled signs taken once, and how many bytes it and the sign take.
fn quoted(rest: &str, close: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut letters = rest.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != close {
            value.push(letter);
        } else if letters.peek().is_some_and(|(_, next)| *next == close) {
            value.push(close);
            letters.next();
        } else {
            return Some((value, at + close.len_utf8()));
        }
    }
    None
}

fn number(rest: &str) -> (Kind, usize) {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if rest[length..].starts_with('.') {
        length += 1;
        length += digits(length);
    }
    if rest[length..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    (Kind::Number(rest[..length].to_owned()), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokens(text).expect("the text is whole").into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn quotes_are_doubled_and_comments_nest() {
        assert_eq!(
            kinds("N'it''s' [a]]b] /* x /* y */ z */ -- c\n @P1 @@SPID 1.5e3 0xAF"),
            [
                Kind::Text { value: "it's".into(), national: true },
                Kind::Quoted("a]b".into()),
                Kind::Variable("@P1".into()),
                Kind::Global("@@SPID".into()),
                Kind::Number("1.5e3".into()),
                Kind::Binary(vec![0xaf]),
                Kind::End,
            ]
        );
    }

    #[test]
    fn lines_are_counted_and_what_is_not_closed_is_said() {
        assert_eq!(tokens("a\n'x\ny'\nb").expect("whole")[2].line, 4);
        assert_eq!(tokens("select 'abc").expect_err("not closed").number, 105);
        assert_eq!(tokens("/* abc").expect_err("not closed").number, 113);
        assert_eq!(tokens("select ?").expect_err("no such sign").number, 102);
    }
}
