//! The escapes of a `.properties` file, in both directions.
//!
//! Apart because they are a matter of bytes and nothing else. Decoding takes every input: what makes no sense stands for
//! itself.

pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

/// White space at the beginning, within the line.
pub fn leading_blank(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_blank(**byte)).count()
}

/// What a program reads. Bytes beyond ASCII are UTF-8 where they can be, else Latin-1 as the format's first rule says.
pub fn decode(raw: &[u8]) -> String {
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text.to_owned(),
        Err(_) => raw.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        let Some(escaped) = rest.chars().next() else { break };
        rest = &rest[escaped.len_utf8()..];
        match escaped {
            'n' => units.push(b'\n'.into()),
            't' => units.push(b'\t'.into()),
            'r' => units.push(b'\r'.into()),
            'f' => units.push(0x0c),
            'u' => match rest.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
                Some(unit) => {
                    units.push(unit);
                    rest = &rest[4..];
                }
                None => units.push(b'u'.into()),
            },
            '\r' | '\n' => {
                if escaped == '\r' {
                    rest = rest.strip_prefix('\n').unwrap_or(rest);
                }
                rest = rest.trim_start_matches([' ', '\t', '\x0c']);
            }
            other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
        }
    }
    String::from_utf16_lossy(&units)
}

/// As few escapes as can be, so that a URL stays readable. `after_blank`: only white space stands before the value.
pub fn encode_value(value: &str, utf8: bool, after_blank: bool) -> Vec<u8> {
    let mut raw = Vec::new();
    for (at, c) in value.chars().enumerate() {
        match c {
            ' ' if at == 0 => raw.extend(b"\\ "),
            '=' | ':' if at == 0 && after_blank => raw.extend([b'\\', c as u8]),
            _ => encode_char(c, utf8, &mut raw),
        }
    }
    raw
}

pub fn encode_key(key: &str, utf8: bool) -> Vec<u8> {
    let mut raw = Vec::new();
    for (at, c) in key.chars().enumerate() {
        match c {
            ' ' | '=' | ':' => raw.extend([b'\\', c as u8]),
            '#' | '!' if at == 0 => raw.extend([b'\\', c as u8]),
            _ => encode_char(c, utf8, &mut raw),
        }
    }
    raw
}

fn encode_char(c: char, utf8: bool, raw: &mut Vec<u8>) {
    match c {
        '\\' => raw.extend(b"\\\\"),
        '\n' => raw.extend(b"\\n"),
        '\r' => raw.extend(b"\\r"),
        '\t' => raw.extend(b"\\t"),
        '\x0c' => raw.extend(b"\\f"),
        ' '..='~' => raw.push(c as u8),
        _ if utf8 && !c.is_control() => raw.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        // Read alike by programs that take the file as Latin-1 and by those that take it as UTF-8.
        _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| raw.extend(format!("\\u{unit:04X}").bytes())),
    }
}
