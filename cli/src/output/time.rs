//! Moments and lengths of time, for people.

use baton_model::time::{Moment, Span};
use jiff::{Timestamp, tz::TimeZone};

/// `2026-11-21 03:00:04`, in the reader's zone.
pub fn stamp(moment: Moment, zone: &TimeZone) -> String {
    formatted(moment, zone, "%Y-%m-%d %H:%M:%S")
}

/// `03:00:04`.
pub fn clock(moment: Moment, zone: &TimeZone) -> String {
    formatted(moment, zone, "%H:%M:%S")
}

fn formatted(moment: Moment, zone: &TimeZone, format: &str) -> String {
    let known = i64::try_from(moment.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    known.map_or_else(|| format!("{} ms", moment.0), |at| at.to_zoned(zone.clone()).strftime(format).to_string())
}

/// `0.3s`, `12.4s`, `1:23`, `1:02:03`.
pub fn span(span: Span) -> String {
    let ms = span.as_millis();
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}:{:02}", s / 60, s % 60),
        _ => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_never_rounded_up() {
        let shown = [0, 349, 59_999, 60_000, 83_000, 3_599_999, 3_723_000].map(|ms| span(Span(ms)));
        assert_eq!(shown, ["0.0s", "0.3s", "59.9s", "1:00", "1:23", "59:59", "1:02:03"]);
    }

    #[test]
    fn moments_are_shown_in_the_readers_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(stamp(Moment(1_790_000_000_000), &zone), "2026-09-21 16:13:20");
        assert_eq!(stamp(Moment(u64::MAX), &zone), "18446744073709551615 ms");
    }
}
