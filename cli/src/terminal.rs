//! The terminal: whether there is one, how large it is, what is typed.
//!
//! Apart because it is the one place that touches the process's standard streams. What is drawn is made elsewhere, as
//! text.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::{
    arguments::Global,
    exit::Exit,
    failure::{Failure, code},
    output::look::Look,
};

/// Where no terminal says how wide it is.
const WIDTH_DEFAULT: usize = 100;
/// Narrower than this, nothing can be drawn sensibly; the terminal wraps.
const WIDTH_MIN: usize = 40;

/// Which standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Data.
    Stdout,
    /// Talk.
    Stderr,
}

impl Stream {
    pub fn is_terminal(self) -> bool {
        match self {
            Stream::Stdout => io::stdout().is_terminal(),
            Stream::Stderr => io::stderr().is_terminal(),
        }
    }

    /// Columns and rows now.
    pub fn size(self) -> Option<(usize, usize)> {
        let size = match self {
            Stream::Stdout => terminal_size::terminal_size_of(io::stdout()),
            Stream::Stderr => terminal_size::terminal_size_of(io::stderr()),
        };
        size.map(|(width, height)| (usize::from(width.0), usize::from(height.0)))
    }

    /// How text for this stream is to look.
    pub fn look(self, global: &Global) -> Look {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let terminal = self.is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Look {
            width: self.width(),
            color: terminal && !dumb && !global.no_color && !set("NO_COLOR"),
            unicode: speaks_utf8(),
            zone: jiff::tz::TimeZone::system(),
        }
    }

    pub fn width(self) -> usize {
        self.size().map_or(WIDTH_DEFAULT, |(width, _)| width.max(WIDTH_MIN))
    }

    /// Writes it all. Where the reader has gone (`| head`), ends the process as SIGPIPE would: nobody is left to tell.
    pub fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match self {
            Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Stream::Stderr => io::stderr().write_all(bytes),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(128 + 13),
            Err(error) => {
                Err(Failure::new(Exit::Failed, code::OUTPUT, format!("cannot write the output: {error}."), ""))
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Whether questions can be asked and answered.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// One line, typed after a question on stderr. Empty where the input has ended.
pub fn ask(question: &str) -> Result<String, Failure> {
    Stream::Stderr.write(question.as_bytes())?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new(Exit::Refused, code::NOT_CONFIRMED, format!("no answer: {error}."), ""))?;
    Ok(line.trim().to_owned())
}

/// As the locale's variables say, the first that is set: LC_ALL, LC_CTYPE, LANG.
fn speaks_utf8() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
