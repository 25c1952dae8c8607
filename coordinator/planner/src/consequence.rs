//! One sentence: what starting a plan does to the role. It is what an operator says yes to.

use baton_model::plan::{Kind, Plan, Work};

pub fn sentence(plan: &Plan) -> String {
    let transfer = plan.steps().find_map(|step| match step.work {
        Work::Transfer { detach_old } => Some(detach_old),
        _ => None,
    });
    match (transfer, &plan.new) {
        (Some(detach), Some(new)) => {
            let loss = if plan.kind == Kind::Forced {
                format!(" What {} had not handed over may be lost.", plan.old)
            } else {
                " Nothing may be lost on the way.".to_owned()
            };
            let after = if detach {
                format!(" {} is left detached until it has rejoined.", plan.old)
            } else {
                format!(" {} stays as a standby.", plan.old)
            };
            format!(
                "The primary role of {} moves from {} to {new} (epoch {} to {}).{loss}{after}",
                plan.group,
                plan.old,
                plan.epoch,
                plan.epoch.0 + 1
            )
        }
        _ => format!("{} stays primary of {}.", plan.old, plan.group),
    }
}
