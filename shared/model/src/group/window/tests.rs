use super::*;

fn at(text: &str) -> Moment {
    let timestamp: Timestamp = text.parse().expect(text);
    Moment(u64::try_from(timestamp.as_millisecond()).expect("after 1970"))
}

fn window(days: &[Day], from: &str, to: &str) -> Window {
    Window {
        days: days.to_vec(),
        from: from.parse().expect(from),
        to: to.parse().expect(to),
        time_zone: TimeZoneName::new("Europe/Berlin").expect("a zone"),
    }
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_it_opens_on() {
    let friday_night = window(&[Day::Fri], "22:00", "04:00");
    for (moment, open) in [
        ("2026-11-20T20:59:59Z", false),
        ("2026-11-20T21:00:00Z", true),
        ("2026-11-21T02:59:59Z", true),
        ("2026-11-21T03:00:00Z", false),
        ("2026-11-21T21:30:00Z", false),
    ] {
        assert_eq!(friday_night.is_open(at(moment)), open, "{moment}");
    }
    assert_eq!(friday_night.next_opening(at("2026-11-20T21:00:00Z")), Some(at("2026-11-20T21:00:00Z")));
    assert_eq!(friday_night.next_opening(at("2026-11-20T21:00:01Z")), Some(at("2026-11-27T21:00:00Z")));
    assert_eq!(friday_night.closing(at("2026-11-21T01:00:00Z")), Some(at("2026-11-21T03:00:00Z")));
    assert_eq!(friday_night.closing(at("2026-11-21T04:00:00Z")), None);
}

#[test]
fn the_clock_skipped_in_spring_and_shown_twice_in_autumn() {
    // 29 March 2026: 02:00 becomes 03:00 in Berlin; 25 October: 03:00 becomes 02:00.
    let at_night = window(&[Day::Sun], "02:30", "05:00");
    assert_eq!(
        at_night.next_opening(at("2026-03-28T12:00:00Z")),
        Some(at("2026-03-29T01:30:00Z")),
        "03:30 summer time"
    );
    assert_eq!(at_night.next_opening(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")), "the first 02:30");
    let night = window(&[Day::Sat], "22:00", "06:00");
    let hours = |day: &str| {
        let opens = night.next_opening(at(day)).expect("opens");
        night.closing(opens).expect("closes").since(opens).as_millis() / 3_600_000
    };
    assert_eq!(hours("2026-03-28T12:00:00Z"), 7);
    assert_eq!(hours("2026-10-24T12:00:00Z"), 9);
    assert_eq!(hours("2026-11-21T12:00:00Z"), 8);
}

#[test]
fn a_window_from_a_time_to_the_same_lasts_a_day() {
    let always = window(&every_day(), "00:00", "00:00");
    for moment in ["2026-03-29T01:30:00Z", "2026-10-25T00:30:00Z", "2026-01-01T00:00:00Z"] {
        assert!(always.is_open(at(moment)), "{moment}");
    }
}

#[test]
fn a_moment_beyond_the_calendar_is_never_open_and_never_panics() {
    let always = window(&every_day(), "00:00", "00:00");
    for moment in [0, u64::MAX, i64::MAX as u64, 253_402_207_200_000] {
        always.is_open(Moment(moment));
        always.next_opening(Moment(moment));
    }
    assert!(!always.is_open(Moment(u64::MAX)));
}

#[test]
fn times_and_zones_are_read_strictly() {
    for bad in ["24:00", "22:60", "9:00", "22", "22:00:00", "+1:00", ""] {
        assert!(bad.parse::<TimeOfDay>().is_err(), "{bad:?}");
    }
    assert!(TimeZoneName::new("Berlin").is_err());
    assert_eq!(TimeZoneName::new("europe/berlin").expect("a zone").as_str(), "Europe/Berlin");
}

#[test]
fn every_compiled_in_zone_can_be_read() {
    for name in TimeZoneName::available() {
        TimeZoneName::new(name).expect(name).zone();
    }
}

#[test]
fn openings_are_listed_from_the_one_that_is_open_and_told_in_both_clocks() {
    let night = window(&[Day::Sat, Day::Sun], "22:00", "04:00");
    let listed = night.openings(at("2026-11-22T02:59:59Z"), 3);
    let told: Vec<String> = listed.iter().map(|(opens, _)| night.told(*opens)).collect();
    assert_eq!(
        told,
        [
            "2026-11-21 21:00 UTC (22:00 Europe/Berlin)",
            "2026-11-22 21:00 UTC (22:00 Europe/Berlin)",
            "2026-11-28 21:00 UTC (22:00 Europe/Berlin)"
        ]
    );
    assert_eq!(
        night.openings(at("2026-11-22T03:00:00Z"), 1),
        [(at("2026-11-22T21:00:00Z"), at("2026-11-23T03:00:00Z"))]
    );
    for (opens, closes) in night.openings(at("2026-03-01T00:00:00Z"), 100) {
        assert!(night.is_open(opens) && !night.is_open(closes) && night.is_open(Moment(closes.0 - 1)), "{opens:?}");
    }
    assert_eq!(night.told(at("2026-11-21T23:30:00Z")), "2026-11-21 23:30 UTC (2026-11-22 00:30 Europe/Berlin)");
    assert_eq!(night.to_string(), "sat, sun 22:00 to 04:00 Europe/Berlin");
    let utc =
        Window { time_zone: TimeZoneName::new("Etc/UTC").expect("a zone"), ..window(&every_day(), "01:00", "02:00") };
    assert_eq!(utc.told(at("2026-11-22T01:00:00Z")), "2026-11-22 01:00 UTC");
    assert_eq!(utc.to_string(), "every day 01:00 to 02:00 Etc/UTC");
    assert!(utc.openings(Moment(u64::MAX), 9).is_empty());
}
