//! `slony.failover`: Slony's own FAILOVER to a subscriber, for an origin that is dead.
//!
//! Apart because it fences nobody: run while the old origin is alive, both sides write and both say that they are the origin. So it
//! is refused while the old origin's server answers.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::slony::Failover,
    outcome::{Fault, Observation},
};
use serde_json::json;

use crate::{
    action::{Context, Effect, Failure, Perform, sql::limits},
    host::postgres::Session,
};

use super::{
    node::Node,
    observed, pairs, sentence,
    slonik::Script,
    state::{Role, look},
};

const WITHIN: Duration = Duration::from_secs(90);

/// Whether there is something to do; refused where it makes no sense.
async fn wanted(
    failed: &Node,
    backup: &Node,
    context: &Context,
) -> Result<Option<(i64, i64, serde_json::Value)>, Fault> {
    let (_, view) = look(backup, context).await?;
    let wrong = |message: String, remedy: &str| Fault::new("BTN-0774", message, remedy);
    let Some(view) = view else {
        return Err(wrong(format!("{backup} has no Slony schema"), "Initialise it instead (slony.init)."));
    };
    match (view.role(), view.set()) {
        (Role::Origin | Role::OriginLocked, _) => Ok(None),
        (Role::Subscriber, Some(set)) => {
            // Dead must mean dead; a server that is only slow would go on taking writes.
            if Session::open(&failed.target, &limits(context)).await.is_ok() {
                let message = format!("{failed} answers: FAILOVER would make two origins");
                return Err(wrong(message, "Move the set (slony.move_set), or stop that server first."));
            }
            let applied = serde_json::to_value(&view.applied).unwrap_or_default();
            Ok(Some((set.origin, view.local_id, applied)))
        }
        (role, _) => Err(wrong(format!("{backup} is no subscriber: {}", role.as_str()), "See slony.state.")),
    }
}

#[async_trait]
impl Perform for Failover {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut parts = Vec::new();
        for (failed, backup) in pairs(&self.failed, &self.backup, &self.databases, &self.cluster, context).await? {
            parts.push((
                backup.label(),
                match wanted(&failed, &backup, context).await? {
                    None => Ok("is the origin".to_owned()),
                    Some((from, to, _)) => Err(format!("fail over from node {from} to node {to}")),
                },
            ));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut changed = false;
        for (failed, backup) in pairs(&self.failed, &self.backup, &self.databases, &self.cluster, context).await? {
            let Some((from, to, applied)) = wanted(&failed, &backup, context).await? else {
                parts.push((backup.label(), "was the origin already".to_owned()));
                continue;
            };
            // FAILOVER removes the subscriber's record of what it had applied; here it is kept.
            context.output().line(format!("{backup}: had applied {applied}"));
            let mut script = Script::new(&[(to, &backup)]);
            script.say(format!("failover (id = {from}, backup node = {to});"));
            script.run(&format!("{backup}: failover"), WITHIN.min(context.time_left()), context).await?;
            changed = true;
            let (_, view) = look(&backup, context).await?;
            if !view.is_some_and(|view| view.is_origin()) {
                let message = format!("{backup}: slonik said that all went well, and it is not the origin");
                return Err(Fault::new("BTN-0775", message, "See slony.state and the task's output.").into());
            }
            data.insert(backup.database.clone(), json!({ "applied": applied, "failed_node": from }));
            parts.push((backup.label(), format!("is the origin, node {from} was given up")));
        }
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(changed) })
    }

    fn repeatable(&self) -> bool {
        true
    }
}
