//! What follows from what every replica says. Pure: a state goes in, a verdict comes out.
//!
//! Apart because these are the rules that must hold whatever goes wrong on the way, and a table can show that they do. Nothing
//! here may take a replica's silence for consent, or a statement's return for an effect. From Microsoft's pages on planned and
//! forced manual failover.

use baton_model::outcome::Fault;

use super::state::{Availability, Cluster, GroupState, Movement, Operation, Replica, Role, Told, same};

/// Two that say PRIMARY at one time: nothing may be sent to either.
pub fn two_primaries(state: &GroupState) -> Option<Fault> {
    let primaries = state.primaries();
    if primaries.len() < 2 {
        return None;
    }
    let names = primaries.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" and ");
    let message =
        format!("{}: {names} both say that they are PRIMARY ({}); nothing was sent", state.group, state.sentence());
    Some(Fault::new(
        "BTN-0630",
        message,
        "Keep clients away from the one that is not to be primary, then demote it there by hand: ALTER AVAILABILITY GROUP … SET (ROLE = SECONDARY) for cluster types NONE and EXTERNAL, OFFLINE first where that is refused. What it took in since then is lost: copy it first.",
    ))
}

/// The word of the instance that the action is about.
pub fn own(state: &GroupState) -> Result<&Replica, Fault> {
    match state.told.first() {
        Some((_, Told::Said(replica))) => Ok(replica),
        Some((name, Told::Absent)) => {
            let message =
                format!("{name} has no replica of availability group {}, or the login may not see it", state.group);
            Err(Fault::new(
                "BTN-0631",
                message,
                "Correct the group's name or the connection; else give the login VIEW ANY DEFINITION and VIEW SERVER STATE.",
            ))
        }
        Some((_, Told::Silent(fault))) => Err(fault.clone()),
        None => Err(Fault::new("BTN-0631", format!("{}: no instance was named", state.group), "")),
    }
}

/// The replica that says PRIMARY, which configuration is sent to.
pub fn primary(state: &GroupState) -> Result<&Replica, Fault> {
    state.primary().ok_or_else(|| {
        let message = format!("{}: no instance that can be asked says PRIMARY ({})", state.group, state.sentence());
        Fault::new(
            "BTN-0632",
            message,
            "Name every replica's instance in `replicas`; see mssql.ag.role for each one's word.",
        )
    })
}

/// What a change of role starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// By the name that the group knows it by.
    pub target: String,
    pub from: Option<String>,
    pub cluster: Cluster,
}

/// Where a change of role stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// The target is primary, and its databases are open.
    There(String),
    /// A change is under way.
    Between(String),
    /// The statement may be sent.
    Ready(Start),
    /// Not now; another step, or time, may change that.
    NotReady(Fault),
}

/// A failover without loss.
pub fn planned(state: &GroupState) -> Result<Way, Fault> {
    if let Some(fault) = two_primaries(state) {
        return Err(fault);
    }
    let target = own(state)?;
    if let Some(way) = arrived(state, target) {
        return Ok(way);
    }
    if target.cluster == Cluster::None {
        let message = format!(
            "{} has CLUSTER_TYPE = NONE: SQL Server refuses a planned failover there (47122), and this action never forces one",
            state.group
        );
        return Err(Fault::new(
            "BTN-0634",
            message,
            "Make the target synchronous, wait (mssql.ag.synchronized), stop the old primary's instance, then mssql.ag.force_failover with the operator's acceptance.",
        ));
    }
    let unfit = unfit(state, target);
    if !unfit.is_empty() {
        let message = format!("{} on {} cannot take over without loss: {}", state.group, target.name, unfit.join("; "));
        let remedy = match state.primary() {
            Some(_) => {
                "Make primary and target synchronous (mssql.ag.set_mode), resume what is suspended, wait (mssql.ag.synchronized), then retry."
            }
            None => "Bring the primary back. Where that is not possible, the forced runbook shows what would be lost.",
        };
        return Ok(Way::NotReady(Fault::new("BTN-0633", message, remedy)));
    }
    // Pacemaker's group has nobody else who demotes: the old primary must be seen to give the role up.
    let unseen = witness(state, target).filter(|_| target.cluster == Cluster::External && state.primary().is_none());
    if let Some((witness, name)) = unseen {
        let message = format!(
            "{} on {}: {name} serves as far as {} can tell and cannot be asked, so that nobody would see it give up the role ({})",
            state.group,
            target.name,
            witness.name,
            state.sentence()
        );
        return Ok(Way::NotReady(Fault::new(
            "BTN-0633",
            message,
            "Name its instance in `replicas` and let this host reach it, or let the cluster move the role (pcs resource move).",
        )));
    }
    Ok(Way::Ready(Start {
        target: target.name.clone(),
        from: state.primary().map(|primary| primary.name.clone()),
        cluster: target.cluster,
    }))
}

/// A failover whatever the target lacks.
pub fn forced(state: &GroupState) -> Result<Way, Fault> {
    if let Some(fault) = two_primaries(state) {
        return Err(fault);
    }
    let target = own(state)?;
    if let Some(way) = arrived(state, target) {
        return Ok(way);
    }
    let planned_works = target.cluster != Cluster::None && unfit(state, target).is_empty();
    if let Some(primary) = state.primary() {
        return Err(still_there(state, target, &primary.name, planned_works));
    }
    let broken: Vec<String> = target
        .own_copies()
        .filter(|copy| {
            matches!(copy.movement, Some(Movement::Initializing | Movement::Reverting))
                || matches!(copy.state, Some("SUSPECT" | "RECOVERY_PENDING" | "EMERGENCY" | "OFFLINE"))
        })
        .map(super::state::Copy::describe)
        .collect();
    if !broken.is_empty() {
        let message =
            format!("{} on {} has copies that cannot become primary: {}", state.group, target.name, broken.join("; "));
        return Err(Fault::new(
            "BTN-0640",
            message,
            "Choose another replica. A copy that is being initialised or reverted could never be opened as a primary.",
        ));
    }
    if let Some((witness, name)) = witness(state, target) {
        // The primary's process may have died within the session timeout, or it lives and only we cannot reach it.
        let planned_works = planned_works && same(&witness.name, &target.name);
        return Ok(Way::NotReady(still_there(state, witness, name, planned_works)));
    }
    Ok(Way::Ready(Start { target: target.name.clone(), from: None, cluster: target.cluster }))
}

/// A secondary that is connected to its primary, and whom it means: that one serves, whether or not it answers here.
fn witness<'a>(state: &'a GroupState, target: &Replica) -> Option<(&'a Replica, &'a str)> {
    state.said().filter(|replica| replica.role == Role::Secondary && replica.connected == Some(true)).find_map(
        |replica| match replica.primary.as_deref().filter(|name| !same(name, &replica.name)) {
            Some(name) if same(name, &target.name) => None,
            Some(name) => Some((replica, name)),
            None => Some((replica, "its primary")),
        },
    )
}

fn still_there(state: &GroupState, witness: &Replica, primary: &str, planned_works: bool) -> Fault {
    if planned_works {
        let message = format!(
            "{}: {} is connected to {primary} and synchronized, so that a planned failover to it loses nothing: no need to force ({})",
            state.group,
            witness.name,
            state.sentence()
        );
        return Fault::new("BTN-0638", message, "Use the planned runbook (mssql.ag.failover).");
    }
    let message = format!(
        "{}: {primary} still serves as primary as far as {} can tell ({}): forced now, both would take writes",
        state.group,
        witness.name,
        state.sentence()
    );
    Fault::new(
        "BTN-0639",
        message,
        "Stop the old primary's instance, or cut it off, first. A dead primary is noticed after the session timeout (10 s by default): then retry.",
    )
}

/// Primary already, or in the middle.
fn arrived(state: &GroupState, target: &Replica) -> Option<Way> {
    match target.role {
        Role::Primary => Some(match closed(target).as_slice() {
            [] if target.operation.is_none_or(|operation| operation == Operation::Online) => {
                Way::There(format!("{} is primary, with {} open", target.name, databases(target)))
            }
            closed => Way::Between(format!("{} {}; {}", target.name, target.standing(), closed.join("; "))),
        }),
        Role::Resolving if target.operation == Some(Operation::PendingFailover) => {
            Some(Way::Between(format!("{} {} ({})", target.name, target.standing(), state.sentence())))
        }
        Role::Resolving | Role::Secondary => None,
    }
}

fn databases(replica: &Replica) -> String {
    match replica.databases.as_slice() {
        [] => "no database".to_owned(),
        names => names.join(", "),
    }
}

/// The databases of a primary that are not open there.
fn closed(replica: &Replica) -> Vec<String> {
    let states = replica.databases.iter().map(|database| (database, replica.own_copy(database)));
    states
        .filter_map(|(database, copy)| match copy {
            Some(copy) if copy.state == Some("ONLINE") => None,
            Some(copy) => Some(copy.describe()),
            None => Some(format!("{database} without a copy")),
        })
        .collect()
}

/// Why the target cannot take over without loss; empty where it can.
fn unfit(state: &GroupState, target: &Replica) -> Vec<String> {
    let mut reasons = Vec::new();
    let primary = state.primary();
    // The primary's catalogue is the true one; a secondary that was cut off has an old copy.
    let catalogue = primary.unwrap_or(target);
    for name in primary.map(|primary| primary.name.as_str()).into_iter().chain([target.name.as_str()]) {
        match catalogue.mode(name).and_then(|mode| mode.availability) {
            Some(Availability::Synchronous) | None => {}
            Some(other) => reasons.push(format!("{name} is in {} mode", other.word())),
        }
    }
    for database in &catalogue.databases {
        if let Some(reason) = unfit_copy(primary, target, database) {
            reasons.push(reason);
        }
    }
    reasons
}

fn unfit_copy(primary: Option<&Replica>, target: &Replica, database: &str) -> Option<String> {
    let Some(copy) = target.own_copy(database) else {
        return Some(format!("{database} has not joined"));
    };
    if copy.is_suspended() {
        return Some(copy.describe());
    }
    match primary {
        Some(primary) => {
            let reported = primary.copy_on(&target.name, database);
            [Some(copy), reported]
                .into_iter()
                .flatten()
                .find(|copy| copy.movement != Some(Movement::Synchronized))
                .map(|copy| copy.describe())
        }
        // Without a primary every copy is NOT SYNCHRONIZING, and the cluster's word counts; where it has none, the server decides.
        None => match target.membership(&target.name, database).and_then(|one| one.ready) {
            Some(false) => Some(format!("{database} was not synchronized when the primary was last heard of")),
            Some(true) | None => None,
        },
    }
}

/// What a look after the statement shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    There(String),
    Coming(String),
    /// As if nothing had been sent.
    Untouched(String),
}

/// Success is the target's word and everybody else's: `old` must be a secondary, or be out of reach.
pub fn after(state: &GroupState, target: &str, old: Option<&str>) -> After {
    let sentence = state.sentence();
    let Some(replica) = state.of(target) else { return After::Coming(sentence) };
    let before = old.and_then(|old| state.of(old));
    match arrived(state, replica) {
        Some(Way::There(note)) => {
            let other = state.primaries().into_iter().find(|one| !same(&one.name, target));
            match (other, before) {
                (Some(other), _) => After::Coming(format!("{} still says PRIMARY too", other.name)),
                (None, Some(before)) if before.role != Role::Secondary => After::Coming(sentence),
                (None, _) => After::There(note),
            }
        }
        Some(_) => After::Coming(sentence),
        None => match before {
            Some(before) if before.role != Role::Primary => After::Coming(sentence),
            _ => After::Untouched(sentence),
        },
    }
}

/// Whether a replica has what the primary acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    Holds(String),
    /// With the database that is furthest behind: kilobytes to send, and a second's worth.
    Waits {
        note: String,
        behind_kb: Option<i64>,
        rate_kb: Option<i64>,
    },
    Never(Fault),
}

/// `enough`: SYNCHRONIZED, or SYNCHRONIZING as well.
pub fn synchronized(state: &GroupState, strict: bool) -> Result<Progress, Fault> {
    if let Some(fault) = two_primaries(state) {
        return Err(fault);
    }
    let replica = own(state)?;
    if replica.role == Role::Primary {
        return Ok(Progress::Holds(format!("{} is the primary itself", replica.name)));
    }
    let never = |text: String, remedy: &str| Ok(Progress::Never(Fault::new("BTN-0644", text, remedy)));
    let paused: Vec<String> =
        replica.own_copies().filter(|copy| copy.is_suspended()).map(super::state::Copy::describe).collect();
    if !paused.is_empty() {
        let text = format!("{} will not catch up: {}", replica.name, paused.join("; "));
        return never(text, "Data movement is suspended: see what resuming throws away, then mssql.ag.resume.");
    }
    let catalogue = state.primary().unwrap_or(replica);
    let asynchronous =
        [Some(catalogue.name.as_str()).filter(|_| catalogue.role == Role::Primary), Some(replica.name.as_str())]
            .into_iter()
            .flatten()
            .find(|name| catalogue.mode(name).and_then(|mode| mode.availability) == Some(Availability::Asynchronous));
    if let Some(name) = asynchronous.filter(|_| strict) {
        let text = format!("{} never becomes SYNCHRONIZED: {name} is in ASYNCHRONOUS_COMMIT mode", replica.name);
        return never(text, "mssql.ag.set_mode to synchronous first, or ask for state: synchronizing.");
    }
    let enough = |movement: Option<Movement>| {
        movement == Some(Movement::Synchronized) || (!strict && movement == Some(Movement::Synchronizing))
    };
    let mut behind = Vec::new();
    let mut worst: Option<(i64, Option<i64>)> = None;
    for database in &catalogue.databases {
        let own = replica.own_copy(database);
        let reported = state.primary().and_then(|primary| primary.copy_on(&replica.name, database));
        let lagging = [own, reported].into_iter().flatten().find(|copy| !enough(copy.movement));
        let membership = state.primary().and_then(|primary| primary.membership(&replica.name, database));
        match (own, lagging) {
            (Some(_), None) if strict && membership.and_then(|one| one.ready) == Some(false) => {
                behind.push(format!("{database} is not ready for a failover yet"));
            }
            (None, _) => behind.push(format!("{database} has not joined")),
            (_, Some(copy)) => {
                behind.push(copy.describe());
                // Only the primary knows what it has not sent.
                if let Some(kb) = reported.and_then(|copy| copy.send_queue_kb)
                    && worst.is_none_or(|(before, _)| kb >= before)
                {
                    worst = Some((kb, reported.and_then(|copy| copy.send_rate_kb)));
                }
            }
            _ => {}
        }
    }
    if behind.is_empty() {
        let word = if strict { "synchronized" } else { "synchronizing or better" };
        return Ok(Progress::Holds(format!("{}: {} {word}", replica.name, databases(catalogue))));
    }
    let note = match state.primary() {
        Some(_) => format!("{}: {}", replica.name, behind.join("; ")),
        None => format!("{}: {}; no instance that can be asked says PRIMARY", replica.name, behind.join("; ")),
    };
    Ok(Progress::Waits { note, behind_kb: worst.map(|(kb, _)| kb), rate_kb: worst.and_then(|(_, rate)| rate) })
}

/// What resuming a copy throws away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thrown {
    Nothing,
    /// Log above the first up to the second: hardened there, and never seen by the new primary.
    Log {
        above: u128,
        until: u128,
    },
    Unknown(String),
}

impl Thrown {
    pub fn words(&self) -> String {
        match self {
            Thrown::Nothing => "nothing is thrown away".to_owned(),
            Thrown::Log { above, until } => format!("its log above LSN {above} up to {until} is thrown away"),
            Thrown::Unknown(why) => format!("what is thrown away is not known: {why}"),
        }
    }
}

/// A suspended copy of the instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Paused {
    pub database: String,
    pub reason: Option<String>,
    pub thrown: Thrown,
}

/// The instance's copies of these databases; of all where none is named.
pub fn copies<'a>(state: &'a GroupState, wanted: &[String]) -> Result<Vec<&'a super::state::Copy>, Fault> {
    if let Some(fault) = two_primaries(state) {
        return Err(fault);
    }
    let replica = own(state)?;
    if wanted.is_empty() {
        return Ok(replica.own_copies().collect());
    }
    let of = |database: &String| {
        replica.own_copy(database).ok_or_else(|| {
            let message = format!(
                "{} has no copy of {database} in group {}: it has {}",
                replica.name,
                state.group,
                databases(replica)
            );
            Fault::new("BTN-0642", message, "Correct the names, or let the copy join first (mssql.ag.join).")
        })
    };
    wanted.iter().map(of).collect()
}

/// What is suspended, and what resuming it throws away: the new primary's `recovery_lsn` against what the copy hardened.
pub fn paused(state: &GroupState, wanted: &[String]) -> Result<Vec<Paused>, Fault> {
    let copies = copies(state, wanted)?;
    let replica = own(state)?;
    let suspended = copies.into_iter().filter(|copy| copy.is_suspended());
    let entry = |copy: &super::state::Copy| Paused {
        database: copy.database.clone(),
        reason: copy.reason.clone(),
        thrown: match (replica.role, state.primary()) {
            (Role::Primary, _) => Thrown::Nothing,
            (_, None) => Thrown::Unknown("no instance that can be asked says PRIMARY".to_owned()),
            (_, Some(primary)) => thrown(copy, primary.own_copy(&copy.database).and_then(|own| own.recovery)),
        },
    };
    Ok(suspended.map(entry).collect())
}

fn thrown(copy: &super::state::Copy, recovery: Option<u128>) -> Thrown {
    let (Some(recovery), Some(hardened)) = (recovery, copy.hardened) else {
        return Thrown::Unknown("the primary's recovery point or the copy's hardened log is not known".to_owned());
    };
    if hardened <= recovery {
        return Thrown::Nothing;
    }
    // Log above the recovery point is foreign only where the copy has not followed this primary since it took over: a copy
    // that a person suspended later has the primary's own log there.
    match copy.reason.as_deref() {
        Some("SUSPEND_FROM_PARTNER" | "SUSPEND_FROM_REVALIDATION" | "SUSPEND_FROM_XRF_UPDATE") => {
            Thrown::Log { above: recovery, until: hardened }
        }
        Some("SUSPEND_FROM_USER") => Thrown::Unknown(format!(
            "it has log above LSN {recovery} up to {hardened}; none is thrown away unless a forced failover happened while it was suspended"
        )),
        _ => Thrown::Unknown(format!("it has log above LSN {recovery} up to {hardened}")),
    }
}

#[cfg(test)]
mod tests;
