//! A result's row: cells by column name, in types that do not depend on how wide the server made a number.
//!
//! Apart because the client refuses to read a `tinyint` as an `int`, and a view's column may be either. A number with more
//! digits than a float holds stays text.

use serde_json::{Value, json};
use tiberius::ColumnData;

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bit(bool),
    Int(i64),
    Float(f64),
    /// Decimal digits, as exact as the server has them: LSNs are numbers of 25 digits.
    Number(String),
    Text(String),
    /// ISO 8601; without an offset unless the server's type has one.
    Time(String),
    Bytes(Vec<u8>),
}

/// The cells of a row in the order of its columns. Names are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row(pub Vec<(String, Cell)>);

impl Row {
    /// The cell; `Null` where there is no such column.
    pub fn cell(&self, name: &str) -> &Cell {
        const NONE: &Cell = &Cell::Null;
        self.0.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map_or(NONE, |(_, cell)| cell)
    }

    /// Text, or whatever can be shown as it.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.cell(name) {
            Cell::Null => None,
            Cell::Text(text) | Cell::Number(text) | Cell::Time(text) => Some(text.clone()),
            Cell::Int(value) => Some(value.to_string()),
            Cell::Float(value) => Some(value.to_string()),
            Cell::Bit(value) => Some(value.to_string()),
            Cell::Bytes(bytes) => Some(hexadecimal(bytes)),
        }
    }

    /// A whole number of any width.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.cell(name) {
            Cell::Int(value) => Some(*value),
            Cell::Number(digits) => digits.parse().ok(),
            Cell::Bit(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.cell(name) {
            Cell::Bit(value) => Some(*value),
            Cell::Int(value) => Some(*value != 0),
            _ => None,
        }
    }

    /// A log sequence number: `numeric(25,0)`.
    pub fn lsn(&self, name: &str) -> Option<u128> {
        match self.cell(name) {
            Cell::Number(digits) | Cell::Text(digits) => digits.parse().ok(),
            Cell::Int(value) => u128::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The row as an object. Two columns of one name are one key: the first.
    pub fn object(&self) -> Value {
        let mut object = serde_json::Map::new();
        for (name, cell) in &self.0 {
            object.entry(name.clone()).or_insert_with(|| cell.json());
        }
        Value::Object(object)
    }

    pub(super) fn read(row: &tiberius::Row) -> Result<Self, String> {
        let cells = row.cells().map(|(column, data)| match Cell::read(data) {
            Ok(cell) => Ok((column.name().to_owned(), cell)),
            Err(why) => Err(format!("column {:?}: {why}", column.name())),
        });
        cells.collect::<Result<_, _>>().map(Self)
    }
}

impl Cell {
    /// As data for `register`. Numbers that JSON's readers would bend are text.
    pub fn json(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Bit(value) => json!(value),
            Cell::Int(value) => json!(value),
            Cell::Float(value) => json!(value),
            Cell::Number(text) | Cell::Text(text) | Cell::Time(text) => json!(text),
            Cell::Bytes(bytes) => json!(hexadecimal(bytes)),
        }
    }

    fn read(data: &ColumnData<'_>) -> Result<Self, String> {
        let cell = match data {
            ColumnData::U8(value) => value.map(|value| Cell::Int(value.into())),
            ColumnData::I16(value) => value.map(|value| Cell::Int(value.into())),
            ColumnData::I32(value) => value.map(|value| Cell::Int(value.into())),
            ColumnData::I64(value) => value.map(Cell::Int),
            ColumnData::F32(value) => value.map(|value| Cell::Float(value.into())),
            ColumnData::F64(value) => value.map(Cell::Float),
            ColumnData::Bit(value) => value.map(Cell::Bit),
            ColumnData::String(value) => value.as_ref().map(|text| Cell::Text(text.to_string())),
            ColumnData::Guid(value) => value.map(|guid| Cell::Text(guid.to_string())),
            ColumnData::Binary(value) => value.as_ref().map(|bytes| Cell::Bytes(bytes.to_vec())),
            ColumnData::Numeric(value) => value.map(|number| Cell::Number(digits(number.value(), number.scale()))),
            ColumnData::Xml(value) => value.as_ref().map(|xml| Cell::Text(xml.to_string())),
            ColumnData::DateTime(value) => match value {
                Some(time) => Some(Cell::Time(thirds(time.days(), time.seconds_fragments())?)),
                None => None,
            },
            ColumnData::SmallDateTime(value) => match value {
                Some(time) => Some(Cell::Time(moment(
                    DAYS_TO_1900 + i64::from(time.days()),
                    i64::from(time.seconds_fragments()) * 60 * NANO,
                    0,
                )?)),
                None => None,
            },
            ColumnData::Date(value) => match value {
                Some(date) => Some(Cell::Time(day(i64::from(date.days()))?.to_string())),
                None => None,
            },
            ColumnData::Time(value) => match value {
                Some(time) => Some(Cell::Time(clock(nanoseconds(time.increments(), time.scale())?)?.to_string())),
                None => None,
            },
            ColumnData::DateTime2(value) => match value {
                Some(at) => Some(Cell::Time(moment(
                    i64::from(at.date().days()),
                    nanoseconds(at.time().increments(), at.time().scale())?,
                    at.time().scale(),
                )?)),
                None => None,
            },
            ColumnData::DateTimeOffset(value) => match value {
                Some(at) => Some(Cell::Time(with_offset(at)?)),
                None => None,
            },
        };
        Ok(cell.unwrap_or(Cell::Null))
    }
}

/// From the first day of year 1, which newer types count from, to that of 1900.
const DAYS_TO_1900: i64 = 693_595;
const NANO: i64 = 1_000_000_000;

fn digits(value: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let minus = if value < 0 { "-" } else { "" };
    let all = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = all.split_at(all.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{minus}{whole}{point}{fraction}")
}

fn hexadecimal(bytes: &[u8]) -> String {
    format!("0x{}", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
}

fn day(days: i64) -> Result<jiff::civil::Date, String> {
    let span = jiff::Span::new().try_days(days).map_err(|error| error.to_string())?;
    jiff::civil::date(1, 1, 1).checked_add(span).map_err(|error| error.to_string())
}

fn clock(nanoseconds: i64) -> Result<jiff::civil::Time, String> {
    let span = jiff::Span::new().try_nanoseconds(nanoseconds).map_err(|error| error.to_string())?;
    jiff::civil::Time::midnight().checked_add(span).map_err(|error| error.to_string())
}

fn nanoseconds(increments: u64, scale: u8) -> Result<i64, String> {
    let unit = 10_i64.checked_pow(9_u32.saturating_sub(u32::from(scale))).ok_or("a time of impossible precision")?;
    i64::try_from(increments)
        .ok()
        .and_then(|value| value.checked_mul(unit))
        .ok_or_else(|| "a time beyond the day".to_owned())
}

fn moment(days: i64, nanoseconds: i64, _scale: u8) -> Result<String, String> {
    Ok(day(days)?.to_datetime(clock(nanoseconds)?).to_string())
}

/// `datetime`: three hundredths of a second, which the server itself shows as milliseconds.
fn thirds(days: i32, fragments: u32) -> Result<String, String> {
    let milliseconds = (i64::from(fragments) * 10 + 1) / 3;
    moment(DAYS_TO_1900 + i64::from(days), milliseconds * 1_000_000, 3)
}

fn with_offset(at: &tiberius::time::DateTimeOffset) -> Result<String, String> {
    let utc = at.datetime2();
    let nanoseconds = nanoseconds(utc.time().increments(), utc.time().scale())?;
    let civil = day(i64::from(utc.date().days()))?.to_datetime(clock(nanoseconds)?);
    let zone = jiff::tz::Offset::from_seconds(i32::from(at.offset()) * 60).map_err(|error| error.to_string())?;
    let moment = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?;
    Ok(moment.timestamp().display_with_offset(zone).to_string())
}

#[cfg(test)]
mod tests {
    use tiberius::{numeric::Numeric, time as ms};

    use super::*;

    #[test]
    fn cells_keep_every_digit_and_the_servers_own_time() {
        let table = [
            (ColumnData::Numeric(Some(Numeric::new_with_scale(34_000_000_025_600_001, 0))), json!("34000000025600001")),
            (ColumnData::Numeric(Some(Numeric::new_with_scale(-5, 3))), json!("-0.005")),
            (ColumnData::Numeric(Some(Numeric::new_with_scale(1234, 2))), json!("12.34")),
            (ColumnData::DateTime(Some(ms::DateTime::new(0, 1))), json!("1900-01-01T00:00:00.003")),
            (ColumnData::DateTime(Some(ms::DateTime::new(45_657, 300 * 3_600))), json!("2025-01-02T01:00:00")),
            (ColumnData::DateTime(Some(ms::DateTime::new(-1, 299))), json!("1899-12-31T00:00:00.997")),
            (ColumnData::SmallDateTime(Some(ms::SmallDateTime::new(1, 61))), json!("1900-01-02T01:01:00")),
            (ColumnData::Date(Some(ms::Date::new(0))), json!("0001-01-01")),
            (ColumnData::U8(Some(255)), json!(255)),
            (ColumnData::Bit(Some(true)), json!(true)),
            (ColumnData::String(None), Value::Null),
            (ColumnData::Binary(Some(vec![0, 255].into())), json!("0x00FF")),
        ];
        for (data, expected) in table {
            assert_eq!(Cell::read(&data).expect("read").json(), expected, "{data:?}");
        }
        let at = ms::DateTime2::new(ms::Date::new(DAYS_TO_1900 as u32), ms::Time::new(36_000_000_000, 7));
        let east = ms::DateTimeOffset::new(at, 120);
        assert_eq!(
            Cell::read(&ColumnData::DateTimeOffset(Some(east))).expect("read").json(),
            json!("1900-01-01T03:00:00+02:00")
        );
    }

    #[test]
    fn columns_are_found_by_name_and_a_missing_one_is_null() {
        let row = Row(vec![
            ("Role".to_owned(), Cell::Int(1)),
            ("lsn".to_owned(), Cell::Number("34000000025600001".to_owned())),
            ("spid".to_owned(), Cell::Text("51".to_owned())),
            ("SPID".to_owned(), Cell::Text("52".to_owned())),
        ]);
        assert_eq!(
            (row.int("role"), row.lsn("LSN"), row.flag("absent")),
            (Some(1), Some(34_000_000_025_600_001), None)
        );
        assert_eq!(row.text("spid").as_deref(), Some("51"), "of two columns the first");
    }
}
