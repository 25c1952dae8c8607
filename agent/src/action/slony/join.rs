//! `slony.join`: a second node and the paths between both.
//!
//! Apart from `slony.init`, because the old origin comes back hours later, and because a schema that it still has is the only
//! record of what was lost: it is refused here, never removed.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::slony::Join,
    outcome::{Fault, Observation},
};
use serde_json::json;

use crate::action::{Context, Effect, Failure, Perform};

use super::{
    advance, canary,
    init::drop_leftover,
    node::Node,
    observed, pairs, proven_by_role, sentence,
    slonik::Script,
    state::{View, look},
};

const WITHIN: Duration = Duration::from_secs(90);

/// What is to be done about a pair.
pub(super) enum Plan {
    /// Joined under this id, with both paths.
    Done(i64),
    /// The node is known on both sides; a path is missing or leads elsewhere.
    Paths(i64),
    /// Store it under this id. `forgotten`: an id that the origin still lists for a node whose schema is gone.
    Store { id: i64, forgotten: Option<i64>, leftover: bool },
}

/// Each path is its client's own: the other side hears of it only once the slons run.
fn paths_lead(origin: (&Node, &View), other: (&Node, &View)) -> bool {
    let leads = |server: (&Node, &View), client: &View| {
        let ids = (server.1.local_id, client.local_id);
        client.paths.iter().any(|path| (path.server, path.client) == ids && path.conninfo == server.0.conninfo())
    };
    leads(origin, other.1) && leads(other, origin.1)
}

/// Judges both sides' views; refuses what would destroy something.
pub(super) async fn plan(origin: &Node, other: &Node, context: &Context) -> Result<Plan, Fault> {
    let (_, view) = look(origin, context).await?;
    let Some(view) = view.filter(View::is_origin) else {
        return Err(Fault::new(
            "BTN-0764",
            format!("{origin} is not the origin of a set"),
            "Initialise it first (slony.init).",
        ));
    };
    let (_, other_view) = look(other, context).await?;
    let free = |taken: Option<i64>| {
        (1..)
            .find(|id| *id != view.local_id && (Some(*id) == taken || !view.nodes.contains_key(id)))
            .expect("there are enough numbers")
    };
    // By its name: the comment is the appliance's.
    let known =
        view.nodes.iter().find(|(id, comment)| **id != view.local_id && **comment == other.name).map(|(id, _)| *id);
    match other_view {
        None => Ok(Plan::Store { id: free(known), forgotten: known, leftover: false }),
        Some(mine) => {
            let member = mine.nodes.get(&view.local_id).is_some_and(|comment| *comment == origin.name)
                && view.nodes.contains_key(&mine.local_id)
                && mine.local_id != view.local_id
                && !mine.is_origin();
            if member && known == Some(mine.local_id) {
                let lead = paths_lead((origin, &view), (other, &mine));
                return Ok(if lead { Plan::Done(mine.local_id) } else { Plan::Paths(mine.local_id) });
            }
            if is_leftover(&mine) {
                return Ok(Plan::Store { id: free(known), forgotten: known, leftover: true });
            }
            Err(of_the_past(other, &mine))
        }
    }
}

/// A store that was cut off: no set, nothing applied, nobody subscribed.
fn is_leftover(view: &View) -> bool {
    view.sets.is_empty() && view.applied.is_none() && view.subscriptions.is_empty()
}

fn of_the_past(node: &Node, view: &View) -> Fault {
    let message =
        format!("{node} still has the Slony schema of its past: {}, node {}", view.role().as_str(), view.local_id);
    Fault::new("BTN-0765", message, "List what was lost first (slony.lost_rows), then slony.drop there, then retry.")
}

/// For `slony.init`, before it changes anything.
pub(super) async fn free_of_the_past(other: &Node, origin: &Node, context: &Context) -> Result<(), Fault> {
    match look(other, context).await?.1 {
        None => Ok(()),
        Some(view) if is_leftover(&view) => Ok(()),
        Some(view) if !view.is_origin() && view.nodes.get(&1).is_some_and(|comment| *comment == origin.name) => Ok(()),
        Some(view) => Err(of_the_past(other, &view)),
    }
}

/// Makes it so; the node's id, and whether anything was changed.
pub(super) async fn join(origin: &Node, other: &Node, context: &Context) -> Result<(i64, bool), Fault> {
    let plan = plan(origin, other, context).await?;
    let (_, view) = look(origin, context).await?;
    let origin_id = view.map_or(1, |view| view.local_id);
    let id = match plan {
        Plan::Done(id) => return Ok((id, false)),
        Plan::Paths(id) => id,
        Plan::Store { id, forgotten, leftover } => {
            let session = other.open(context).await?;
            if leftover {
                drop_leftover(&session, other).await?;
            }
            advance::forget(&session, None).await?;
            canary::create(&session).await?;
            if let Some(gone) = forgotten {
                let mut script = Script::new(&[(origin_id, origin)]);
                script.say(format!("drop node (id = {gone}, event node = {origin_id});"));
                script.run(&format!("{origin}: forget node {gone}"), WITHIN, context).await?;
            }
            let mut script = Script::new(&[(origin_id, origin), (id, other)]);
            script.say(format!("store node (id = {id}, comment = '{}', event node = {origin_id});", other.name));
            script.run(&format!("{other}: store node {id}"), WITHIN, context).await?;
            id
        }
    };
    let mut script = Script::new(&[(origin_id, origin), (id, other)]);
    script.say(format!("store path (server = {origin_id}, client = {id}, conninfo = '{}');", origin.conninfo()));
    script.say(format!("store path (server = {id}, client = {origin_id}, conninfo = '{}');", other.conninfo()));
    script.run(&format!("{other}: store paths"), WITHIN, context).await?;
    Ok((id, true))
}

#[async_trait]
impl Perform for Join {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        proven_by_role(&self.origin.name, &self.primary)?;
        let mut parts = Vec::new();
        for (origin, other) in pairs(&self.origin, &self.subscriber, &self.databases, &self.cluster, context).await? {
            let one = match plan(&origin, &other, context).await? {
                Plan::Done(id) => Ok(format!("{} is node {id}", other.name)),
                Plan::Paths(id) => Err(format!("store the paths between {} and node {id}", origin.name)),
                Plan::Store { id, .. } => Err(format!("store {} as node {id}", other.name)),
            };
            parts.push((other.label(), one));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        proven_by_role(&self.origin.name, &self.primary)?;
        let pairs = pairs(&self.origin, &self.subscriber, &self.databases, &self.cluster, context).await?;
        for (origin, other) in &pairs {
            plan(origin, other, context).await?;
        }
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut changed = false;
        for (origin, other) in &pairs {
            let (id, stored) = join(origin, other, context).await?;
            changed |= stored;
            data.insert(origin.database.clone(), json!({ "node": id }));
            parts.push((other.label(), format!("node {id} of {}'s cluster", origin.name)));
        }
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(changed) })
    }

    fn repeatable(&self) -> bool {
        true
    }
}
