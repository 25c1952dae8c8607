//! Time as numbers. Nothing here reads a clock: moments come in with the log's entries, as the proposer's stamp.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the Unix epoch, as its proposer's clock said. For people and deadlines, never for order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    pub fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
    /// `2026-11-22 01:00 UTC`: the minute is enough for a person, and the zone is written out.
    pub fn utc(self) -> String {
        let known = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        known.map_or_else(|| format!("{} ms", self.0), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
    }
    /// How long from `earlier` to `self`; zero if the clocks disagree about which came first.
    pub fn since(self, earlier: Moment) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in milliseconds; written `500ms`, `30s`, `5m`, `2h` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub u64);

impl Span {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }
    pub const fn as_millis(self) -> u64 {
        self.0
    }
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// Why a length of time was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length of time: a whole number and ms, s, m or h, as in 500ms, 30s, 5m or 1h30m")]
pub struct InvalidSpan(pub String);

impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(value: &str) -> Result<Self, InvalidSpan> {
        let wrong = || InvalidSpan(value.to_owned());
        let mut rest = value;
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit: u64 = match &rest[..letters] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(wrong()),
            };
            rest = &rest[letters..];
            total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        if left == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if left >= size {
                text.push_str(&format!("{}{unit}", left / size));
                left %= size;
            }
        }
        f.pad(&text)
    }
}

impl TryFrom<String> for Span {
    type Error = InvalidSpan;
    fn try_from(value: String) -> Result<Self, InvalidSpan> {
        value.parse()
    }
}

impl From<Span> for String {
    fn from(value: Span) -> String {
        value.to_string()
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a length of time: 500ms, 30s, 5m, 2h, 1h30m",
            "pattern": "^([0-9]+(ms|s|m|h))+$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_with_its_zone() {
        assert_eq!(Moment(1_795_309_259_999).utc(), "2026-11-22 01:00 UTC");
        assert_eq!(Moment(u64::MAX).utc(), "18446744073709551615 ms");
    }

    #[test]
    fn spans_are_read_and_written_alike() {
        for text in ["500ms", "30s", "5m", "2h", "1h30m", "1m500ms"] {
            assert_eq!(text.parse::<Span>().expect(text).to_string(), text);
        }
        for bad in ["", "5", "m", "5 m", "5x", "-5s", "99999999999999999999h", "18446744073709551615h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
