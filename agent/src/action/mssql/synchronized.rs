//! `mssql.ag.synchronized`: a check, or a wait with its progress, that a replica has all that the primary acknowledged.

use async_trait::async_trait;
use baton_model::{
    action::mssql::{AgSynchronized, Synchronization},
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::{
    decide::{Progress, synchronized},
    look::Eyes,
    send::next_look,
};
use crate::action::{Context, Effect, Failure, Perform};

#[async_trait]
impl Perform for AgSynchronized {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        Ok(match synchronized(&eyes.look().await?, self.strict())? {
            Progress::Holds(note) => Observation::InPlace { note },
            Progress::Waits { note, .. } => Observation::Differs { change: note },
            Progress::Never(fault) => Observation::Differs { change: fault.message },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        // The most that there was to send: what the percentage is of.
        let mut most = 0_i64;
        loop {
            let state = eyes.look().await?;
            let waits = match synchronized(&state, self.strict()) {
                Ok(Progress::Holds(note)) => {
                    let data = json!({ "primary": state.primary().map(|one| &one.name) });
                    return Ok(Effect { summary: note, data, changed: Some(false) });
                }
                Ok(Progress::Never(fault)) => return Err(fault.into()),
                Ok(Progress::Waits { note, behind_kb, rate_kb }) => {
                    most = most.max(behind_kb.unwrap_or(0));
                    let (words, percent) = estimate(behind_kb, rate_kb, most);
                    context.progress(format!("{note}{words}"), percent);
                    Fault::new(
                        "BTN-0645",
                        format!("not synchronized: {note}{words}"),
                        "Wait for it (wait: true), or see why it is behind.",
                    )
                }
                // An instance that restarts is no reason to give up a wait; two primaries are, and `look` says so.
                Err(fault) => {
                    // Who watches a wait of hours must see what it waits for.
                    context.progress(&fault.message, None);
                    fault
                }
            };
            if !self.wait {
                return Err(waits.into());
            }
            if !next_look(context).await {
                let message = format!("{}, until the end of the step", waits.message);
                return Err(Fault::new(&waits.code, message, waits.remedy).into());
            }
        }
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

trait Strict {
    fn strict(&self) -> bool;
}

impl Strict for AgSynchronized {
    fn strict(&self) -> bool {
        self.state == Synchronization::Synchronized
    }
}

/// `, 12 MB to send at 3 MB/s, about 4 s`, and how much of the most is done. What is not known is left out.
fn estimate(behind_kb: Option<i64>, rate_kb: Option<i64>, most: i64) -> (String, Option<u8>) {
    let Some(behind) = behind_kb else { return (String::new(), None) };
    let mut words = format!(", {behind} KB to send");
    if let Some(rate) = rate_kb.filter(|rate| *rate > 0) {
        words.push_str(&format!(" at {rate} KB/s, about {} s", (behind + rate - 1) / rate));
    }
    let percent = (most > 0).then(|| u8::try_from((most - behind).max(0) * 100 / most).unwrap_or(100).min(99));
    (words, percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_says_only_what_is_known() {
        assert_eq!(estimate(None, Some(3), 10), (String::new(), None));
        assert_eq!(estimate(Some(10), None, 40), (", 10 KB to send".to_owned(), Some(75)));
        assert_eq!(estimate(Some(10), Some(0), 0), (", 10 KB to send".to_owned(), None));
        assert_eq!(estimate(Some(10), Some(3), 10), (", 10 KB to send at 3 KB/s, about 4 s".to_owned(), Some(0)));
        assert_eq!(estimate(Some(0), Some(3), 10).1, Some(99), "not yet synchronized is not done");
    }
}
