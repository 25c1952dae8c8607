//! `slony.stop`: ends slons and first what would bring them back; believes the process table, never a pid file.
//!
//! Apart because without `arguments_contain` it is the vendor's `killall slon`, and with it other appliances' slons on the same
//! machine must not be touched.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::slony::Stop,
    outcome::{Fault, Observation},
};
use serde_json::json;

use crate::action::{Context, Effect, Failure, Perform};

use super::daemon::{Process, all, end};

/// How long they must stay away before it is believed that nothing brings them back.
const SETTLE: Duration = Duration::from_secs(1);

trait Choose {
    fn slons(&self) -> Vec<Process>;
    fn watchdogs(&self) -> Vec<Process>;
    fn meant(&self, process: &Process) -> bool;
}

impl Choose for Stop {
    fn slons(&self) -> Vec<Process> {
        super::daemon::slons().into_iter().filter(|process| self.meant(process)).collect()
    }
    fn watchdogs(&self) -> Vec<Process> {
        let named = |process: &Process| self.watchdogs.iter().any(|program| process.is(program));
        all().into_iter().filter(|process| named(process) && self.meant(process)).collect()
    }
    fn meant(&self, process: &Process) -> bool {
        process.pid.cast_unsigned() != std::process::id()
            && self.arguments_contain.as_ref().is_none_or(|text| process.mentions(text))
    }
}

#[async_trait]
impl Perform for Stop {
    async fn observe(&self, _: &Context) -> Result<Observation, Fault> {
        let found: Vec<String> = self.watchdogs().iter().chain(&self.slons()).map(Process::describe).collect();
        Ok(match found.is_empty() {
            true => Observation::InPlace { note: "no slon runs".to_owned() },
            false => Observation::Differs { change: format!("end {}", found.join(", ")) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let grace = self.grace.to_std();
        let watchdogs = end(|| self.watchdogs(), grace, Duration::ZERO, context).await?;
        let slons = end(|| self.slons(), grace, SETTLE, context).await?;
        // A watchdog that came back (cron, init) would undo it at leisure.
        let again = self.watchdogs();
        if !again.is_empty() {
            let list: Vec<String> = again.iter().map(Process::describe).collect();
            let message = format!("something restarted the watchdogs: {}", list.join(", "));
            return Err(
                Fault::new("BTN-0751", message, "Stop what restarts them (cron, an init script), then retry.").into()
            );
        }
        let summary = match (slons.len(), watchdogs.len()) {
            (0, 0) => "no slon ran".to_owned(),
            (slons, 0) => format!("{slons} slon processes ended"),
            (slons, watchdogs) => format!("{watchdogs} watchdogs and {slons} slon processes ended"),
        };
        let changed = !slons.is_empty() || !watchdogs.is_empty();
        Ok(Effect {
            summary,
            data: json!({ "slons": slons.len(), "watchdogs": watchdogs.len() }),
            changed: Some(changed),
        })
    }

    fn repeatable(&self) -> bool {
        true
    }
}
