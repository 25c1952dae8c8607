//! The names that certificates carry.
//!
//! Apart because a name ends up in file names, log lines and URIs: one rule keeps all of them safe without quoting.

use std::fmt;
use std::str::FromStr;

/// Lower-case letters, digits and `-._`, from 1 to 63 characters, beginning with a letter or a digit (so that `..`
/// and `-x` are never names, which a path or a command line would read as something else).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name: a name has 1 to 63 lower-case letters, digits, `-`, `.` or `_`, and begins with a letter or digit"
)]
pub struct NameError {
    text: String,
}

impl Name {
    /// The longest name.
    pub const LENGTH_MAX: usize = 63;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = text.len() <= Self::LENGTH_MAX
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|b| plain(b) || matches!(b, b'-' | b'.' | b'_'));
        if good { Ok(Self(text.to_owned())) } else { Err(NameError { text: text.to_owned() }) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_rule() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "pom-db_1.example", longest.as_str()] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let longer = "a".repeat(64);
        for bad in ["", "A", "-a", ".", "..", "_a", "a b", "a/b", "é", "a\n", longer.as_str()] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }
}
