//! How text is to look: width, colours, characters, time zone.

use jiff::tz::TimeZone;

/// Handed to everything that makes text.
#[derive(Debug, Clone)]
pub struct Look {
    /// Columns.
    pub width: usize,
    pub color: bool,
    /// Otherwise plain ASCII.
    pub unicode: bool,
    /// Of the one who reads.
    pub zone: TimeZone,
}

/// What a piece of text means; colour only repeats what a word or a sign says already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    /// Wants a person's eye: waiting, unknown.
    Warn,
    Active,
}

/// One character in front of a step or a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Pending,
    Running,
    Waiting,
    Done,
    Skipped,
    Failed,
    Unknown,
}

impl Look {
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => return text.to_owned(),
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Bad => "1;31",
            Paint::Warn => "1;33",
            Paint::Active => "36",
        };
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The character and its paint. `turn` moves the spinner; 0 where nothing moves.
    pub fn sign(&self, sign: Sign, turn: u64) -> (Paint, char) {
        const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
        const SPINNER_ASCII: [char; 4] = ['|', '/', '-', '\\'];
        let turned = |frames: &[char]| frames[(turn % frames.len() as u64) as usize];
        let (paint, unicode, ascii) = match sign {
            Sign::Pending => (Paint::Dim, '·', '.'),
            Sign::Running => (Paint::Active, turned(&SPINNER), turned(&SPINNER_ASCII)),
            Sign::Waiting => (Paint::Warn, '◆', '!'),
            Sign::Done => (Paint::Good, '✔', '+'),
            Sign::Skipped => (Paint::Dim, '↷', '-'),
            Sign::Failed => (Paint::Bad, '✘', 'x'),
            Sign::Unknown => (Paint::Warn, '?', '?'),
        };
        (paint, if self.unicode { unicode } else { ascii })
    }

    pub fn arrow(&self) -> &'static str {
        if self.unicode { "→" } else { "->" }
    }

    pub fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// Between parts of a line.
    pub fn dot(&self) -> &'static str {
        if self.unicode { " · " } else { ", " }
    }
}
