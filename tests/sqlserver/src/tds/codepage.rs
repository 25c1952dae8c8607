//! Code page 1252, in which `varchar` and `char` travel under the collation that the server names.
//!
//! Apart because Rust has no such table. Pure.

/// What 0x80 to 0x9F are; everything else is as in Unicode.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

pub fn decode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            0x80..=0x9F => HIGH[usize::from(byte - 0x80)],
            other => char::from(*other),
        })
        .collect()
}

/// What the page does not have becomes a question mark, as in the server.
pub fn encode(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| match HIGH.iter().position(|high| *high == character) {
            Some(position) => 0x80 + u8::try_from(position).expect("the table has 32 entries"),
            None => match u8::try_from(u32::from(character)) {
                Ok(0x80..=0x9F) | Err(_) => b'?',
                Ok(byte) => byte,
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&decode(&bytes)), bytes);
        assert_eq!(encode("5 € für Łódź"), b"5 \x80 f\xFCr ?\xF3d?");
    }
}
