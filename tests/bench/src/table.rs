//! What was measured, as a table for people and as one JSON document. It says what is, and beside it what was aimed at.

use std::fmt::Write as _;

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub benchmark: &'static str,
    pub measure: String,
    pub value: f64,
    pub unit: &'static str,
    /// The same of what it is compared with, and what that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<(f64, &'static str)>,
    /// Where there are windows side by side: the median of their ratios.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aim: Option<Aim>,
}

/// What was wished for, and whether it is so.
#[derive(Debug, Clone, Serialize)]
pub struct Aim {
    pub wish: String,
    pub met: bool,
}

impl Row {
    pub fn new(benchmark: &'static str, measure: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { benchmark, measure: measure.into(), value, unit, beside: None, ratio: None, aim: None }
    }

    pub fn beside(mut self, value: f64, what: &'static str, ratio: f64) -> Self {
        self.beside = Some((value, what));
        self.ratio = Some(ratio);
        self
    }

    pub fn at_most(self, limit: f64, unit: &'static str) -> Self {
        let met = self.value <= limit;
        self.wish(format!("≤ {limit} {unit}"), met)
    }

    pub fn wish(mut self, wish: String, met: bool) -> Self {
        self.aim = Some(Aim { wish, met });
        self
    }
}

/// Everything of one call.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
    pub machine: Machine,
}

/// What else may have kept the machine busy.
#[derive(Debug, Default, Serialize)]
pub struct Machine {
    pub cores: usize,
    /// Load averages (1, 5, 15 minutes) as the system gives them.
    pub load_before: String,
    pub load_after: String,
}

impl Report {
    pub fn table(&self) -> String {
        let mut lines = vec![["benchmark", "measure", "baton", "beside", "ratio", "aim", ""].map(str::to_owned)];
        for row in &self.rows {
            lines.push([
                row.benchmark.to_owned(),
                row.measure.clone(),
                format!("{} {}", number(row.value), row.unit),
                row.beside.map_or(String::new(), |(value, what)| format!("{} ({what})", number(value))),
                row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
                row.aim.as_ref().map_or(String::new(), |aim| aim.wish.clone()),
                row.aim.as_ref().map_or("", |aim| if aim.met { "met" } else { "MISSED" }).to_owned(),
            ]);
        }
        let widths: Vec<usize> =
            (0..7).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for line in lines {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        let Machine { cores, load_before, load_after } = &self.machine;
        let _ = writeln!(text, "\n{cores} cores; load before {load_before}, after {load_after}");
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_shown_as_missed() {
        let rows = vec![
            Row::new("commit", "put, 1 client, p50", 0.91, "ms")
                .beside(0.76, "etcd", 1.2)
                .wish("≤ etcd's".into(), false),
            Row::new("agent", "on disk", 5.04, "MB").at_most(6.0, "MB"),
        ];
        let table = Report { rows, ..Report::default() }.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].contains("0.91 ms") && lines[1].contains("0.76 (etcd)") && lines[1].ends_with("MISSED"));
        assert!(lines[2].ends_with("≤ 6 MB     met") || lines[2].ends_with("met"));
    }
}
