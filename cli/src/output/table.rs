//! A table: a heading, rows, columns as wide as their widest cell. The last column is not cut: a terminal wraps, and a
//! program that reads tables after all finds everything.

use super::{
    look::{Look, Paint},
    text,
};

#[derive(Debug)]
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<(Paint, String)>>,
}

impl Table {
    pub fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// As many cells as the heading has.
    pub fn row<const N: usize>(&mut self, cells: [(Paint, String); N]) {
        assert_eq!(N, self.heading.len(), "a row has a cell for each column");
        self.rows.push(cells.into_iter().map(|(paint, cell)| (paint, text::one_line(&cell))).collect());
    }

    pub fn draw(&self, look: &Look) -> String {
        let heading: Vec<(Paint, String)> = self.heading.iter().map(|name| (Paint::Dim, (*name).to_owned())).collect();
        draw_rows(std::iter::once(&heading).chain(&self.rows), look)
    }
}

/// Rows as aligned columns; each row has the same number of cells.
pub fn draw_rows<'a>(rows: impl Iterator<Item = &'a Vec<(Paint, String)>> + Clone, look: &Look) -> String {
    let columns = rows.clone().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|n| rows.clone().filter_map(|row| row.get(n)).map(|(_, cell)| text::width(cell)).max().unwrap_or(0))
        .collect();
    let mut drawn = String::new();
    for row in rows {
        let mut line = String::new();
        for (n, (paint, cell)) in row.iter().enumerate() {
            line.push_str(&look.paint(*paint, cell));
            if n + 1 < row.len() {
                line.push_str(&" ".repeat(widths[n] - text::width(cell) + 2));
            }
        }
        drawn.push_str(line.trim_end());
        drawn.push('\n');
    }
    drawn
}
