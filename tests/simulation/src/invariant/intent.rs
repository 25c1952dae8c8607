//! No effect without a committed order for it, and none after that order was certainly over: its outcome is committed, or the host has
//! acknowledged the fence that ended it. Of its own accord an agent stops services, and does nothing else.

use super::Violation;
use crate::{
    ground::{Effect, Work},
    record::Tasks,
};

pub fn check(effect: &Effect, tasks: &Tasks) -> Option<Violation> {
    let Some(task) = &effect.task else {
        return match &effect.work {
            Work::Stop(_) => None,
            work => Some(Violation::new("intent", format!("{work:?} on {}, which nobody ordered", effect.host))),
        };
    };
    let Some(order) = tasks.get(task) else {
        return Some(Violation::new(
            "intent",
            format!("{:?} on {} for {task}, which was never made due", effect.work, effect.host),
        ));
    };
    let (closed, how) = order.closed.as_ref()?;
    if effect.tick <= *closed {
        return None;
    }
    let ago = (effect.tick - closed) * crate::world::TICK_MS;
    Some(Violation::new(
        "intent",
        format!("{:?} on {} for {task}, {ago} ms after it was over: {how}", effect.work, effect.host),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_its_own_accord_an_agent_stops_and_never_starts() {
        let effect = |work| Effect { tick: 1, host: "e1".to_owned(), work, task: None };
        assert_eq!(check(&effect(Work::Stop("solo".to_owned())), &Tasks::new()), None);
        for work in [Work::Start("solo".to_owned()), Work::Insert("key".to_owned()), Work::Once("key".to_owned())] {
            assert!(check(&effect(work), &Tasks::new()).is_some_and(|found| found.invariant == "intent"));
        }
    }
}
