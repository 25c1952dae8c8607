//! What an operator reads when this coordinator's log cannot be opened, or has stopped: which, where, why, and what to do.
//!
//! Apart because the log knows neither codes nor operators, and this is the last that the process says. It must never say that
//! anything was lost: the other coordinators have what was acknowledged.

use std::path::Path;

use baton_log::{Error, Failure};
use baton_model::outcome::Fault;

/// The log could not be opened.
pub fn not_opened(name: &str, data: &Path, error: &Error) -> String {
    let file = data.join("log.redb");
    let fault = match error {
        Error::NotUnderstood(why) => return placed(why, name, &file),
        Error::Damaged(what) => Fault::new(
            "BTN-0163",
            format!("the log of {name} in {} is damaged: {what}.", file.display()),
            "It is not used, and not mended. Keep it, and go by \"A coordinator's disk is lost\" in docs/disaster.md: the other \
             coordinators have what was acknowledged.",
        ),
        other => Fault::new(
            "BTN-0162",
            format!("the log of {name} in {} cannot be opened: {other}.", file.display()),
            "See that the file and its folder belong to this program's user, that they can be written, that the disk has room, and \
             that no other process has the file open; then start it again.",
        ),
    };
    fault.to_string()
}

/// The log stopped by itself. The process ends, so that its service manager starts it again.
pub fn stopped(name: &str, data: &Path, failure: &Failure) -> String {
    let file = data.join("log.redb");
    let fault = match failure {
        Failure::NotUnderstood(why) => return placed(why, name, &file),
        Failure::Broken(why) => Fault::new(
            "BTN-0164",
            format!("the log of {name} in {} cannot go on: {why}.", file.display()),
            "This coordinator ends; while a majority of them is up the cluster goes on. See that the disk has room and no errors: \
             started again, it goes on where it was.",
        ),
    };
    fault.to_string()
}

/// In the engine's own words, with code and remedy.
fn placed(why: &str, name: &str, file: &Path) -> String {
    format!("{why} (The log of {name} in {}.)", file.display())
}
