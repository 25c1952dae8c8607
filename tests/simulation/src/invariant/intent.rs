//! No effect without a committed order for it, and none after that order was certainly over: its outcome is committed, or the host has
//! acknowledged the fence that ended it.

use super::Violation;
use crate::{ground::Effect, record::Tasks};

pub fn check(effect: &Effect, tasks: &Tasks) -> Option<Violation> {
    let task = effect.task.as_ref()?;
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
