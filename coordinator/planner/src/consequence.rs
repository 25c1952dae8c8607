//! One sentence: what starting a plan does to the role. It is what an operator says yes to.

use baton_model::plan::{Condition, Kind, Plan, Work};

pub fn sentence(plan: &Plan) -> String {
    let transfer = plan.steps().find_map(|step| match step.work {
        Work::Transfer { detach_old, .. } => Some(detach_old),
        _ => None,
    });
    let (Some(detach), Some(new)) = (transfer, &plan.new) else {
        return format!("{} stays primary of {}.{}", plan.old, plan.group, detached(plan));
    };
    let loss = if plan.kind == Kind::Forced {
        format!(" What {} had not handed over may be lost.", plan.old)
    } else {
        " Nothing may be lost on the way.".to_owned()
    };
    let others = detached(plan);
    let after = match (detach, others.is_empty()) {
        (true, _) => format!(" {} is left detached until it has rejoined.", plan.old),
        (false, true) => format!(" {} stays as a standby.", plan.old),
        (false, false) => String::new(),
    };
    format!(
        "The primary role of {} moves from {} to {new} (epoch {} to {}).{loss}{after}{others}",
        plan.group,
        plan.old,
        plan.epoch,
        plan.epoch.0 + 1
    )
}

/// What `role.detached` leaves behind.
fn detached(plan: &Plan) -> String {
    let steps = plan.steps().filter(|step| !matches!(step.condition, Condition::Never(_)));
    steps
        .filter_map(|step| match &step.work {
            // What is not known yet is not shown half resolved.
            Work::Detach { member, because } if because.deferred => {
                Some(format!(" {member} is left detached until it has rejoined."))
            }
            Work::Detach { member, because } => Some(format!(
                " {member} is left detached until it has rejoined: {}.",
                because.text.trim_end_matches('.')
            )),
            _ => None,
        })
        .collect()
}
