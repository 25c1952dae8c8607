//! The rows that a failover lost, as a table or as one CSV document.
//!
//! Apart because it reads CSV (RFC 4180), which is all that is known of the files: the columns are the agent's matter.

use super::{
    look::{Look, Paint},
    table, text,
};

/// One database's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRows {
    pub database: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl LostRows {
    /// The first record names the columns.
    pub fn read(database: &str, csv: &str) -> Self {
        let mut records = records(csv).into_iter();
        let columns = records.next().unwrap_or_default();
        Self { database: database.to_owned(), columns, rows: records.collect() }
    }
}

/// For people: a table for each database, with its count.
pub fn tables(all: &[LostRows], look: &Look) -> String {
    let mut drawn = String::new();
    for (n, lost) in all.iter().enumerate() {
        if n > 0 {
            drawn.push('\n');
        }
        let paint = if lost.rows.is_empty() { Paint::Good } else { Paint::Bad };
        let headline = format!("{}: {} lost", lost.database, text::count(lost.rows.len(), "row"));
        drawn.push_str(&look.paint(paint, &headline));
        drawn.push('\n');
        if lost.rows.is_empty() {
            continue;
        }
        let heading: Vec<(Paint, String)> =
            lost.columns.iter().map(|name| (Paint::Dim, text::one_line(name))).collect();
        let cell = |cell: &String| (Paint::Plain, text::one_line(cell));
        let rows: Vec<Vec<(Paint, String)>> = lost.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        drawn.push_str(&table::draw_rows(std::iter::once(&heading).chain(&rows), look));
    }
    drawn
}

/// One CSV document: of one database as it is; of several with the database as the first column.
pub fn csv(all: &[LostRows]) -> String {
    let mut document = String::new();
    let mut columns: Option<&[String]> = None;
    for lost in all {
        // A heading again only where the columns change.
        if columns != Some(&lost.columns) {
            document.push_str(&record(std::iter::once("database").chain(lost.columns.iter().map(String::as_str))));
            columns = Some(&lost.columns);
        }
        for row in &lost.rows {
            document.push_str(&record(std::iter::once(lost.database.as_str()).chain(row.iter().map(String::as_str))));
        }
    }
    document
}

fn record<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let quoted = |field: &str| match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    };
    fields.map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

fn records(csv: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = csv.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            _ if quoted => field.push(c),
            ',' => fields.push(std::mem::take(&mut field)),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                fields.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut fields));
            }
            _ => field.push(c),
        }
    }
    if !field.is_empty() || !fields.is_empty() {
        fields.push(field);
        records.push(fields);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_with_quotes_commas_and_line_ends_is_read_and_written_alike() {
        let text = "id,note\n1,\"a \"\"b\"\", c\"\n2,\"two\nlines\"\r\n3,";
        let lost = LostRows::read("fdb", text);
        assert_eq!(lost.columns, ["id", "note"]);
        assert_eq!(lost.rows, [["1", "a \"b\", c"], ["2", "two\nlines"], ["3", ""]]);
        let other = LostRows::read("edb", "id,note\n9,x\n");
        let document = "database,id,note\nfdb,1,\"a \"\"b\"\", c\"\nfdb,2,\"two\nlines\"\nfdb,3,\nedb,9,x\n";
        assert_eq!(csv(&[lost, other]), document);
    }

    /// Found by feeding it whatever bytes.
    #[test]
    fn a_columns_name_does_not_steer_a_terminal() {
        let read = LostRows::read("fdb", "id\u{7},\u{1b}[2J\n1,2\n");
        let look = Look { width: 80, color: false, unicode: true, zone: jiff::tz::TimeZone::UTC };
        let drawn = tables(&[read], &look);
        assert!(!drawn.contains(['\u{7}', '\u{1b}']), "{drawn:?}");
    }
}
