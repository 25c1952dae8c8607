//! An effect that cannot be repeated happens at most once for a task, and not again for a later attempt unless a person asked for one;
//! what can be observed is not done twice at all.

use std::collections::BTreeMap;

use baton_model::ids::TaskId;

use super::Violation;
use crate::{
    ground::{Effect, Work},
    operator::Desk,
};

/// All effects so far, by what they were for.
#[derive(Default)]
pub struct Counts {
    by_task: BTreeMap<TaskId, u64>,
    by_step: BTreeMap<(String, String, String), (u64, u32)>,
}

impl Counts {
    pub fn check(&mut self, effect: &Effect, desk: &Desk) -> Option<Violation> {
        let (Work::Insert(key) | Work::Once(key)) = &effect.work else { return None };
        let task = effect.task.as_ref()?;
        // The author of the runbook says of it that twice does no harm.
        if key.ends_with("-c") {
            return None;
        }
        let count = self.by_task.entry(task.clone()).or_default();
        *count += 1;
        if *count > 1 {
            return Some(Violation::new(
                "once",
                format!("{:?} on {} happened {count} times for {task}", effect.work, effect.host),
            ));
        }
        let place = (task.run.to_string(), task.step.0.clone(), effect.host.clone());
        let before = self.by_step.insert(place, (effect.tick, task.attempt));
        let (tick, attempt) = before?;
        let observable = ["-first", "-b", "-3"].iter().any(|end| key.ends_with(end));
        if observable {
            let what = format!(
                "{:?} on {} can be seen, and happened again for {task}, after attempt {attempt}",
                effect.work, effect.host
            );
            return Some(Violation::new("once", what));
        }
        if !desk.wanted_again(&task.run, tick, effect.tick) {
            let what = format!(
                "{:?} on {} happened again for {task}, after attempt {attempt}, and nobody asked for it",
                effect.work, effect.host
            );
            return Some(Violation::new("once", what));
        }
        None
    }
}
