//! `slony.move_set`: the planned switchover of the set, without loss.
//!
//! Apart because it has the only moment in which nobody may write, and the only one in which nobody is origin. All databases are
//! locked before the first is moved, so that a failure before that point of no return leaves everything as it was: whatever
//! fails or is cancelled between LOCK SET and MOVE SET is compensated with UNLOCK SET, in a session of its own. Every state that a cut
//! leaves behind is told from both sides' views, and carried on from.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::slony::MoveSet,
    outcome::{Fault, Observation},
};
use futures::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    action::{Context, Effect, Failure, Perform, sql::limits},
    host::postgres::{Limits, Session},
};

use super::{
    catch_up::Pair,
    node::Node,
    observed, pairs, sentence,
    slonik::Script,
    state::{Role, SET, View, look},
};

/// Before any lock: a subscriber that is further behind than this is not ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// LOCK SET waits for every open transaction of the whole server; applications wait meanwhile.
const LOCK_WITHIN: Duration = Duration::from_secs(30);
/// Bound on the trigger's own table locks.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// With the set locked; slon's retry of 10 s may fall into it.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(60);
const MOVE_WITHIN: Duration = Duration::from_secs(60);
const UNLOCK_WITHIN: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Where a database's set is, by both sides' views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The old origin has it, perhaps left locked by an attempt that was cut off.
    Old {
        locked: bool,
    },
    /// MOVE SET was sent and the new origin's slon has not applied it: nobody is origin.
    Nobody,
    /// The new origin has it; the old one's subscription is not active yet.
    Settling,
    New,
}

fn stage(old: (&Node, Option<&View>), new: (&Node, Option<&View>)) -> Result<Stage, Fault> {
    let wrong = |message: String| {
        Fault::new(
            "BTN-0770",
            message,
            "See slony.state for both nodes. A set is moved between an origin and its subscriber only.",
        )
    };
    let (old_node, Some(old_view)) = old else { return Err(wrong(format!("{} has no Slony schema", old.0))) };
    let (new_node, Some(new_view)) = new else { return Err(wrong(format!("{} has no Slony schema", new.0))) };
    let (Some(old_set), Some(new_set)) = (old_view.set(), new_view.set()) else {
        return Err(wrong(format!("{old_node} or {new_node} knows no set")));
    };
    let (from, to) = (old_view.local_id, new_view.local_id);
    match (old_set.origin, new_set.origin) {
        (a, b) if a == from && b == from && from != to => match new_view.receives_from(from) {
            true => Ok(Stage::Old { locked: old_set.locked }),
            false => Err(wrong(format!("{new_node} has no active subscription to {old_node}"))),
        },
        (a, b) if a == to && b == from && from != to => Ok(Stage::Nobody),
        (a, b) if a == to && b == to && from != to => {
            Ok(if old_view.receives_from(to) { Stage::New } else { Stage::Settling })
        }
        (a, b) if a == from && b == to => {
            Err(wrong(format!("both {old_node} and {new_node} say that they are the origin: split brain")))
        }
        (a, b) => Err(wrong(format!(
            "{old_node} (node {from}) says the origin is node {a}, {new_node} (node {to}) says node {b}"
        ))),
    }
}

struct Move {
    old: Node,
    new: Node,
}

impl Move {
    async fn look(&self, context: &Context) -> Result<(Stage, View, View), Fault> {
        let ((_, old), (_, new)) = (look(&self.old, context).await?, look(&self.new, context).await?);
        let stage = stage((&self.old, old.as_ref()), (&self.new, new.as_ref()))?;
        Ok((stage, old.expect("a stage needs both views"), new.expect("a stage needs both views")))
    }

    /// Both slons must work: MOVE SET returns at once without them, and then nobody is origin.
    fn slons_run(&self, old: &View, new: &View) -> Result<(), Fault> {
        for (node, view) in [(&self.old, old), (&self.new, new)] {
            if view.slons == 0 {
                let message = format!("{node}: no slon runs; nothing was moved, nobody would be origin");
                return Err(Fault::new("BTN-0771", message, "Start it (slony.start), then retry."));
            }
        }
        Ok(())
    }

    fn script(&self, old: &View, new: &View) -> Script {
        let mut script = Script::new(&[(old.local_id, &self.old), (new.local_id, &self.new)]);
        script.lock_timeout = Some(LOCK_TIMEOUT);
        script
    }

    async fn caught_up(&self, context: &Context, within: Duration) -> Result<(), Fault> {
        Pair::open(&self.old, &self.new, context).await?.sync(context, within).await.map(drop)
    }

    async fn lock(&self, context: &Context) -> Result<(), Fault> {
        let (Stage::Old { locked: false }, old, new) = self.look(context).await? else { return Ok(()) };
        let mut script = self.script(&old, &new);
        script.say(format!("lock set (id = {SET}, origin = {});", old.local_id));
        script.run(&format!("{}: lock", self.old), LOCK_WITHIN.min(context.time_left()), context).await
    }

    async fn send(&self, context: &Context) -> Result<(), Fault> {
        let (Stage::Old { .. }, old, new) = self.look(context).await? else { return Ok(()) };
        self.slons_run(&old, &new)?;
        let mut script = self.script(&old, &new);
        script.say(format!("move set (id = {SET}, old origin = {}, new origin = {});", old.local_id, new.local_id));
        script.run(&format!("{}: move", self.old), MOVE_WITHIN.min(context.time_left()), context).await
    }

    /// Waits until the new origin takes writes and the old one receives from it.
    async fn settle(&self, context: &Context) -> Result<Instant, Fault> {
        let mut writable = None;
        loop {
            let (stage, _, new) = self.look(context).await?;
            match stage {
                Stage::New => return Ok(writable.unwrap_or_else(Instant::now)),
                Stage::Settling => {
                    writable.get_or_insert_with(Instant::now);
                }
                Stage::Nobody | Stage::Old { .. } => {}
            }
            context.progress(
                format!(
                    "{}: waits for {} ({})",
                    self.old.database,
                    self.new.name,
                    if stage == Stage::Nobody { "nobody is origin" } else { "the subscription" }
                ),
                None,
            );
            if stage == Stage::Nobody && new.slons == 0 {
                let message = format!(
                    "nobody is origin of {}: MOVE SET was sent, and no slon runs on {} to apply it",
                    self.old.database, self.new.name
                );
                return Err(Fault::new(
                    "BTN-0772",
                    message,
                    "Start its slon (slony.start) and retry this step: both sides refuse writes until then. If the old origin has died, use slony.failover.",
                ));
            }
            if limits(context).pause("move set", POLL_EVERY).await.is_err() {
                let message = format!(
                    "{}: MOVE SET was sent, and the new origin {} did not take over in time ({stage:?})",
                    self.old.database, self.new.name
                );
                return Err(Fault::new(
                    "BTN-0773",
                    message,
                    "Look at both slons' logs; then retry this step, it goes on from here.",
                ));
            }
        }
    }

    /// Compensates a lock, whatever became of the task: in a session that the task's end does not end.
    async fn unlock(&self, context: &Context) -> Result<(), Fault> {
        let own = Limits { cancel: CancellationToken::new(), deadline: Instant::now() + UNLOCK_WITHIN };
        let failed = |error: crate::host::postgres::Error| crate::action::sql::fault(&error);
        let session: Session = Session::open(&self.old.target, &own).await.map_err(failed)?;
        let view = super::state::read(&session, &self.old).await?;
        if view.is_some_and(|view| view.role() == Role::OriginLocked) {
            let sql = format!(
                "SET lock_timeout = '{}ms'; SELECT {}.unlockSet({SET})",
                LOCK_TIMEOUT.as_millis(),
                self.old.schema()
            );
            session.batch(&sql).await.map_err(failed)?;
            context.output().line(format!("{}: unlocked again", self.old));
        }
        Ok(())
    }
}

async fn moves(params: &MoveSet, context: &Context) -> Result<Vec<Move>, Fault> {
    let pairs = pairs(&params.old_origin, &params.new_origin, &params.databases, &params.cluster, context).await?;
    Ok(pairs.into_iter().map(|(old, new)| Move { old, new }).collect())
}

fn first_error<T>(results: Vec<Result<T, Fault>>) -> Result<Vec<T>, Fault> {
    results.into_iter().collect()
}

#[async_trait]
impl Perform for MoveSet {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut parts = Vec::new();
        for one in moves(self, context).await? {
            let (stage, ..) = one.look(context).await?;
            parts.push((
                one.old.database.clone(),
                match stage {
                    Stage::New => Ok(format!("{} is the origin, {} receives", one.new.name, one.old.name)),
                    Stage::Old { locked: false } => {
                        Err(format!("move the origin from {} to {}", one.old.name, one.new.name))
                    }
                    Stage::Old { locked: true } => Err(format!(
                        "the set is locked on {}, left so by an earlier attempt: go on, move it to {}",
                        one.old.name, one.new.name
                    )),
                    Stage::Nobody => Err(format!("nobody is origin: {}'s slon has to apply MOVE SET", one.new.name)),
                    Stage::Settling => {
                        Err(format!("{} is the origin, {} does not receive yet", one.new.name, one.old.name))
                    }
                },
            ));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let moves = moves(self, context).await?;
        let mut changed = false;
        // Everything that can be known before the first lock.
        for one in &moves {
            let (stage, old, new) = one.look(context).await?;
            changed |= stage != Stage::New;
            if matches!(stage, Stage::Old { .. }) {
                one.slons_run(&old, &new)?;
            }
            if stage == (Stage::Old { locked: false }) {
                context.progress(format!("{}: is {} caught up?", one.old.database, one.new.name), None);
                one.caught_up(context, READY_WITHIN).await?;
            }
        }
        let locking = Instant::now();
        let prepared = async {
            first_error(join_all(moves.iter().map(|one| one.lock(context))).await)?;
            context.progress("all sets are locked: nobody can write", None);
            let waits = moves.iter().map(async |one| match one.look(context).await?.0 {
                Stage::Old { .. } => one.caught_up(context, CATCH_UP_WITHIN).await,
                _ => Ok(()),
            });
            first_error(join_all(waits).await).map(drop)
        };
        if let Err(fault) = prepared.await {
            return Err(compensated(&moves, fault, context).await.into());
        }
        // The point of no return, for each database.
        if let Err(fault) = first_error(join_all(moves.iter().map(|one| one.send(context))).await) {
            return Err(compensated(&moves, fault, context).await.into());
        }
        let settled = first_error(join_all(moves.iter().map(|one| one.settle(context))).await)?;
        let outage = settled.iter().max().map_or(Duration::ZERO, |last| last.duration_since(locking));
        let parts: Vec<(String, String)> = moves
            .iter()
            .map(|one| (one.old.database.clone(), format!("{} is the origin, {} receives", one.new.name, one.old.name)))
            .collect();
        let mut summary = sentence(&parts);
        if changed {
            summary.push_str(&format!("; nobody could write for {:.1} s", outage.as_secs_f64()));
        }
        Ok(Effect {
            summary,
            data: json!({ "outage_ms": if changed { outage.as_millis() as u64 } else { 0 } }),
            changed: Some(changed),
        })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// Unlocks what has not moved, and says how it stands.
async fn compensated(moves: &[Move], fault: Fault, context: &Context) -> Fault {
    let failed: Vec<String> = join_all(moves.iter().map(|one| one.unlock(context)))
        .await
        .into_iter()
        .zip(moves)
        .filter_map(|(result, one)| result.err().map(|error| format!("{}: {}", one.old, error.message)))
        .collect();
    match failed.is_empty() {
        true => Fault::new(
            &fault.code,
            format!("{}; every set that had not moved was unlocked again", fault.message),
            fault.remedy,
        ),
        false => {
            let message = format!(
                "{}; and a set may still be LOCKED, applications cannot write: {}",
                fault.message,
                failed.join("; ")
            );
            Fault::new(
                &fault.code,
                message,
                "Run UNLOCK SET on the old origin, or retry this step, which goes on from here.",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::slony::state::{SetView, Subscription};

    fn view(local: i64, origin: i64, locked: bool, receives: Option<i64>) -> View {
        View {
            schema_oid: 1,
            version: "2.2.11".into(),
            local_id: local,
            sets: vec![SetView { id: 1, origin, locked, comment: String::new(), tables: 1, sequences: 0 }],
            subscriptions: receives
                .into_iter()
                .map(|provider| Subscription { provider, receiver: local, active: true })
                .collect(),
            nodes: Default::default(),
            paths: Vec::new(),
            triggers: Default::default(),
            slons: 1,
            applied: None,
        }
    }

    fn node(name: &str) -> Node {
        Node {
            name: name.into(),
            database: "fdb".into(),
            cluster: super::super::node::Cluster::parse("slony").expect("a name"),
            target: crate::host::postgres::Target {
                host: "127.0.0.1".into(),
                port: 1,
                database: "fdb".into(),
                user: "slony".into(),
                password: None,
                verify: None,
                connect_timeout: Duration::from_secs(1),
            },
        }
    }

    #[test]
    fn every_half_way_state_is_told_from_both_views() {
        let (a, b) = (node("A"), node("B"));
        let told = |old: View, new: View| stage((&a, Some(&old)), (&b, Some(&new))).ok();
        assert_eq!(told(view(1, 1, false, None), view(2, 1, false, Some(1))), Some(Stage::Old { locked: false }));
        assert_eq!(told(view(1, 1, true, None), view(2, 1, false, Some(1))), Some(Stage::Old { locked: true }));
        assert_eq!(told(view(1, 2, false, None), view(2, 1, false, Some(1))), Some(Stage::Nobody));
        assert_eq!(told(view(1, 2, false, None), view(2, 2, false, None)), Some(Stage::Settling));
        assert_eq!(told(view(1, 2, false, Some(2)), view(2, 2, false, None)), Some(Stage::New));
        assert_eq!(told(view(1, 1, false, None), view(2, 2, false, None)), None, "split brain");
        assert_eq!(told(view(1, 1, false, None), view(2, 1, false, None)), None, "no subscription");
        assert_eq!(stage((&a, None), (&b, Some(&view(2, 1, false, Some(1))))).ok(), None, "no schema");
    }
}
