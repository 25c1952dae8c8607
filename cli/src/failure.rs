//! Why the command did not do what was asked: a fault, and the exit code that goes with it.
//!
//! Apart because every path out of the command but success ends here, and must tell a code, the fact and the remedy.

use std::io::Write as _;

use baton_model::outcome::Fault;
use baton_platform::{ca::CaError, config::ConfigError, tls::TlsError};
use serde_json::json;
use tonic::{Code, Status};

use crate::{arguments::Format, exit::Exit};

/// Codes of the command itself, each documented under docs/errors.
pub mod code {
    pub const NO_COORDINATOR_NAMED: &str = "BTN-0801";
    pub const NO_IDENTITY_NAMED: &str = "BTN-0802";
    pub const UNREACHABLE: &str = "BTN-0803";
    pub const NO_LEADER: &str = "BTN-0804";
    pub const ANSWER_UNKNOWN: &str = "BTN-0805";
    pub const OUT_OF_SIGHT: &str = "BTN-0806";
    pub const NOT_CONFIRMED: &str = "BTN-0807";
    pub const WRONG_WORD: &str = "BTN-0808";
    pub const NOT_UNDERSTOOD: &str = "BTN-0809";
    pub const FILE: &str = "BTN-0810";
    pub const NO_SUCH_TASK: &str = "BTN-0811";
    pub const NO_LOST_ROWS: &str = "BTN-0812";
    pub const DAMAGED: &str = "BTN-0813";
    pub const CERTIFICATE_ENDED: &str = "BTN-0814";
    pub const COORDINATOR_FAILED: &str = "BTN-0815";
    pub const OUTPUT: &str = "BTN-0816";
    pub const ARGUMENT: &str = "BTN-0817";
    /// As the coordinators' own: they refuse it as well.
    pub const NOT_ACCEPTED: &str = "BTN-0170";
    pub const WRONG_NAME: &str = "BTN-0171";
    pub const WORSE_BILL: &str = "BTN-0172";
}

/// A fault with its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub fault: Fault,
}

impl Failure {
    pub fn new(exit: Exit, code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, fault: Fault::new(code, message, remedy) }
    }

    /// A library's error whose text begins with its code, as all of Baton's do.
    pub fn of_text(exit: Exit, text: &str) -> Self {
        match text.split_once(' ') {
            Some((code, message)) if code.starts_with("BTN-") => Self::new(exit, code, message, ""),
            _ => Self::new(exit, code::ARGUMENT, text, ""),
        }
    }

    /// A fault that a coordinator sent, with the status it came in.
    pub fn of_status(status: &Status, fault: Fault) -> Self {
        let exit = match status.code() {
            Code::NotFound => Exit::NotFound,
            Code::InvalidArgument => Exit::Usage,
            _ => Exit::Refused,
        };
        Self { exit, fault }
    }

    /// To stderr: a line for people, or a JSON document.
    pub fn tell(&self, format: Format) {
        let text = match format {
            Format::Table => crate::output::text::printable(&self.fault.to_string()),
            Format::Json => {
                let Fault { code, message, remedy } = &self.fault;
                json!({"error": {"code": code, "message": message, "remedy": remedy}}).to_string()
            }
        };
        // Where stderr is closed, the exit code is all that is left to say it.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

impl From<CaError> for Failure {
    fn from(error: CaError) -> Self {
        Self::of_text(Exit::Usage, &error.to_string())
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::of_text(Exit::Usage, &error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::of_text(Exit::Usage, &error.to_string())
    }
}
