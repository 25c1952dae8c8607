//! One line of a picture: painted pieces on the left, something at the right edge, never wider than the terminal.
//!
//! Apart because a live picture is redrawn by counting its lines: one that wraps would leave its remains on the screen.

use super::{
    look::{Look, Paint},
    text,
};

#[derive(Debug, Clone, Default)]
pub struct Line {
    pieces: Vec<(Paint, String)>,
    right: Option<(Paint, String)>,
}

impl Line {
    pub fn new(indent: usize) -> Self {
        Self { pieces: vec![(Paint::Plain, " ".repeat(indent))], right: None }
    }

    /// Adds a piece; line ends become blanks.
    #[must_use]
    pub fn with(mut self, paint: Paint, text: impl AsRef<str>) -> Self {
        self.pieces.push((paint, text::printable(text.as_ref()).replace(['\n', '\t'], " ")));
        self
    }

    #[must_use]
    pub fn right(mut self, paint: Paint, text: impl Into<String>) -> Self {
        self.right = Some((paint, text.into()));
        self
    }

    /// As text, without a line end.
    pub fn draw(&self, look: &Look) -> String {
        let right_width = self.right.as_ref().map_or(0, |(_, text)| text::width(text) + 2);
        let room = look.width.saturating_sub(right_width);
        let mut used = 0;
        let mut drawn = String::new();
        for (paint, piece) in &self.pieces {
            let left = room - used;
            let fits = text::width(piece) <= left;
            let piece = if fits { piece.clone() } else { text::cut(piece, left, look.ellipsis()) };
            used += text::width(&piece);
            drawn.push_str(&look.paint(*paint, &piece));
            if !fits {
                break;
            }
        }
        if let Some((paint, right)) = &self.right {
            drawn.push_str(&" ".repeat(room.saturating_sub(used) + 2));
            drawn.push_str(&look.paint(*paint, right));
        }
        if look.color { drawn } else { drawn.trim_end().to_owned() }
    }
}

/// Lines, each with its line end.
pub fn draw_all(lines: &[Line], look: &Look) -> String {
    lines.iter().map(|line| line.draw(look) + "\n").collect()
}
