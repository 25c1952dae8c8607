//! Days and ticks of the protocol's times, to and from milliseconds since 1970.
//!
//! Apart because rounding is easy to get wrong. Pure; it knows no time zone.

const DAY_MS: i64 = 86_400_000;
/// From 1900-01-01, where `datetime` begins, to 1970-01-01.
const DAYS_1900_TO_1970: i64 = 25_567;
/// From 0001-01-01, where `date` and `datetime2` begin, to 1970-01-01.
const DAYS_0001_TO_1970: i64 = 719_162;

/// `datetime`: days since 1900 and 1/300 seconds, rounded to the nearest.
pub fn to_datetime(milliseconds: i64) -> Option<(i32, u32)> {
    let (mut day, within) = (milliseconds.div_euclid(DAY_MS), milliseconds.rem_euclid(DAY_MS));
    let mut ticks = (within * 300 + 500) / 1000;
    if ticks == DAY_MS * 300 / 1000 {
        day += 1;
        ticks = 0;
    }
    Some((i32::try_from(day + DAYS_1900_TO_1970).ok()?, u32::try_from(ticks).ok()?))
}

/// What `datetime` says, rounded to a millisecond as the server prints it.
pub fn from_datetime(days: i32, ticks: u32) -> i64 {
    (i64::from(days) - DAYS_1900_TO_1970) * DAY_MS + (i64::from(ticks) * 1000 + 150) / 300
}

/// `smalldatetime`: days since 1900 and minutes.
pub fn from_smalldatetime(days: u16, minutes: u16) -> i64 {
    (i64::from(days) - DAYS_1900_TO_1970) * DAY_MS + i64::from(minutes) * 60_000
}

/// `date`: days since 0001.
pub fn from_date(days: u32) -> i64 {
    (i64::from(days) - DAYS_0001_TO_1970) * DAY_MS
}

/// `time(scale)`: so many 10^-scale seconds, cut to milliseconds.
pub fn from_time(units: u64, scale: u8) -> Option<i64> {
    let units_a_second = 10_u64.checked_pow(u32::from(scale))?;
    i64::try_from(u128::from(units) * 1000 / u128::from(units_a_second)).ok().filter(|ms| *ms < DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetime_rounds_to_three_hundredths_and_carries_into_the_next_day() {
        // 1900-01-01, 1970-01-01, 2000-01-01.
        assert_eq!(to_datetime(-2_208_988_800_000), Some((0, 0)));
        assert_eq!(to_datetime(0), Some((25_567, 0)));
        assert_eq!(to_datetime(946_684_800_000), Some((36_524, 0)));
        assert_eq!(to_datetime(10), Some((25_567, 3)));
        assert_eq!(to_datetime(DAY_MS - 1), Some((25_568, 0)));
        assert_eq!(to_datetime(-1), Some((25_567, 0)));
        assert_eq!(to_datetime(i64::MAX), None);
        for milliseconds in [0, 3, 7, 10, 13, 997, 946_684_800_123 / 10 * 10] {
            let (days, ticks) = to_datetime(milliseconds).unwrap();
            assert_eq!(from_datetime(days, ticks), milliseconds);
        }
    }

    #[test]
    fn other_times_are_counted_from_their_own_beginnings() {
        assert_eq!(from_date(719_162), 0);
        assert_eq!(from_smalldatetime(25_567, 2), 120_000);
        assert_eq!(from_time(12_345_678, 7), Some(1_234));
        assert_eq!(from_time(86_400, 0), None);
        assert_eq!(from_time(u64::MAX, 0), None);
        assert_eq!(from_time(1, 200), None);
    }
}
