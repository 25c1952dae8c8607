//! Where the log goes, and how much of it.
//!
//! Apart because it is set once, by `main`, for every crate. It must never be called by a library, and never write to
//! stdout, which belongs to data.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// The environment variable with the filter, for instance `info,baton_agent=debug`.
pub const FILTER_VARIABLE: &str = "BATON_LOG";

/// One line for people, or one JSON document a line for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Plain,
    /// For machines.
    Json,
}

/// Where the log goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogTarget {
    /// To stderr, which systemd keeps.
    #[default]
    Stderr,
    /// Appended to a file, made with mode 0640.
    File(PathBuf),
}

/// How to log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Plain or JSON.
    pub format: LogFormat,
    /// Where to.
    pub target: LogTarget,
    /// The filter where `BATON_LOG` is not set.
    pub filter: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: LogFormat::Plain, target: LogTarget::Stderr, filter: "info".into() }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error(
        "BTN-0331 the log filter `{text}` is not valid: {reason}. Write for instance {FILTER_VARIABLE}=info,baton_agent=debug"
    )]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be opened.
    #[error("BTN-0332 cannot open the log file {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody did it before.
    #[error("BTN-0333 the log is set up already")]
    Twice,
}

/// Sets up the log of this process. Once.
pub fn init(options: &LogOptions) -> Result<(), TelemetryError> {
    let given = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let filter = parse_filter(given.as_deref().unwrap_or(&options.filter))?;
    let (writer, colours) = open(&options.target)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    match options.format {
        LogFormat::Plain => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

/// Strict: a typing error in a filter would otherwise be found when the log that was wanted is not there.
fn parse_filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(text)
        .map_err(|error| TelemetryError::Filter { text: text.to_owned(), reason: error.to_string() })
}

fn open(target: &LogTarget) -> Result<(BoxMakeWriter, bool), TelemetryError> {
    use std::os::unix::fs::OpenOptionsExt;
    match target {
        LogTarget::Stderr => Ok((BoxMakeWriter::new(io::stderr), io::stderr().is_terminal())),
        LogTarget::File(path) => {
            let file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)
                .map_err(|source| TelemetryError::File { path: path.clone(), source })?;
            Ok((BoxMakeWriter::new(Mutex::new(file)), false))
        }
    }
}
