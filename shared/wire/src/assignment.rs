//! What agents are assigned, what they see, and the lease: proto ↔ model, strictly.
//!
//! Apart from the orders because none of this is one: nothing here makes a task due. Lists are bounded, since an agent or a
//! coordinator of another version is on the other side.

use baton_model::{
    assignment::{Assignment, Deed, Seen, Tenure},
    fence::{Fence, Reign},
    ids::{Epoch, GroupName},
    time::Span,
};
use baton_proto::v1 as pb;

use crate::agent::{Malformed, json, malformed, to_json};

/// Groups of one host.
pub const GROUPS_MAX: usize = 256;
/// Components of one host, of all of its groups.
pub const SEEN_MAX: usize = 4096;
/// Deeds in one message; the agent sends the oldest first, and more once these are kept.
pub const DEEDS_MAX: usize = 64;
/// Bytes of what an agent says of one component or deed.
pub const WORDS_BYTES_MAX: usize = 1024;

/// All that a host is to its groups, as of an index of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Assigning {
    pub request: u64,
    pub fence: Fence,
    pub assignments: Vec<Assignment>,
}

pub fn assign(assigning: &Assigning) -> pb::Assign {
    pb::Assign {
        request: assigning.request,
        generation: assigning.fence.generation,
        term: assigning.fence.term,
        index: assigning.fence.index,
        assignments: to_json(&assigning.assignments).into(),
    }
}

pub fn parse_assign(message: pb::Assign) -> Result<Assigning, Malformed> {
    const NAME: &str = "Assign";
    let assignments: Vec<Assignment> = json(NAME, "assignments", &message.assignments)?;
    bounded(NAME, "assignments", assignments.len(), GROUPS_MAX)?;
    let fence = Fence { generation: message.generation, term: message.term, index: message.index };
    Ok(Assigning { request: message.request, fence, assignments })
}

/// The answer: on disk.
pub fn assigned(request: u64, fence: Fence) -> pb::Assigned {
    pb::Assigned { request, generation: fence.generation, term: fence.term, index: fence.index }
}

pub fn parse_assigned(message: pb::Assigned) -> (u64, Reign, u64) {
    (message.request, Reign { generation: message.generation, term: message.term }, message.index)
}

pub fn tenures(tenures: &[Tenure]) -> Vec<u8> {
    if tenures.is_empty() { Vec::new() } else { to_json(&tenures) }
}

/// Of a heartbeat. One of an older agent has none.
pub fn parse_tenures(bytes: &[u8]) -> Result<Vec<Tenure>, Malformed> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let tenures: Vec<Tenure> = json("Heartbeat", "tenures", bytes)?;
    bounded("Heartbeat", "tenures", tenures.len(), GROUPS_MAX)?;
    Ok(tenures)
}

/// A lease that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    pub group: GroupName,
    pub epoch: Epoch,
    pub index: u64,
    pub lasts: Span,
}

pub fn renewal(renewal: &Renewal) -> pb::Renewal {
    pb::Renewal {
        group: renewal.group.to_string(),
        epoch: renewal.epoch.0,
        index: renewal.index,
        lasts_ms: renewal.lasts.as_millis(),
    }
}

pub fn parse_renewal(message: pb::Renewal) -> Result<Renewal, Malformed> {
    const NAME: &str = "HeartbeatReply";
    if message.lasts_ms == 0 {
        return Err(malformed(NAME, "renewals.lasts_ms", "a lease lasts"));
    }
    Ok(Renewal {
        group: GroupName::new(message.group).map_err(|error| malformed(NAME, "renewals.group", error))?,
        epoch: Epoch(message.epoch),
        index: message.index,
        lasts: Span(message.lasts_ms),
    })
}

pub fn probed(seen: &[Seen]) -> pb::Probed {
    pb::Probed { seen: to_json(&seen).into() }
}

pub fn parse_probed(message: &pb::Probed) -> Result<Vec<Seen>, Malformed> {
    parse_seen("Probed", &message.seen)
}

/// As one coordinator tells another.
pub fn seen(seen: &[Seen]) -> Vec<u8> {
    to_json(&seen)
}

pub fn parse_seen(message: &'static str, bytes: &[u8]) -> Result<Vec<Seen>, Malformed> {
    let mut seen: Vec<Seen> = json(message, "seen", bytes)?;
    bounded(message, "seen", seen.len(), SEEN_MAX)?;
    seen.iter_mut().for_each(|seen| cut(&mut seen.what));
    Ok(seen)
}

pub fn deeds(deeds: &[Deed]) -> pb::Deeds {
    pb::Deeds { deeds: to_json(&deeds).into() }
}

pub fn parse_deeds(message: &pb::Deeds) -> Result<Vec<Deed>, Malformed> {
    let mut deeds: Vec<Deed> = json("Deeds", "deeds", &message.deeds)?;
    bounded("Deeds", "deeds", deeds.len(), DEEDS_MAX)?;
    deeds.iter_mut().for_each(|deed| cut(&mut deed.what));
    Ok(deeds)
}

fn bounded(message: &'static str, field: &'static str, length: usize, most: usize) -> Result<(), Malformed> {
    if length > most {
        return Err(malformed(message, field, format!("{length} entries; at most {most}")));
    }
    Ok(())
}

fn cut(text: &mut String) {
    if text.len() > WORDS_BYTES_MAX {
        let end = (0..=WORDS_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use baton_model::{
        assignment::{Health, Part, Stop, Watched},
        group::{ComponentProbe, Lease},
        ids::{ComponentName, MemberName},
        outcome::Fault,
        time::Moment,
    };
    use serde_json::json;

    use super::*;

    fn group() -> GroupName {
        GroupName::new("dm").expect("a name")
    }

    #[test]
    fn messages_read_back_as_they_were_written() {
        let component = ComponentName::new("daemon").expect("a name");
        let watched = Watched {
            component: component.clone(),
            probe: Ok(ComponentProbe::Tcp(serde_json::from_value(json!({ "host": "h", "port": 1 })).expect("a probe"))),
            every: Span::from_secs(1),
            timeout: Span::from_secs(1),
            checks: 2,
            exclusive: true,
            stop: Some(Stop { action: "service.stop".into(), params: json!({ "name": "dm" }) }),
        };
        let unasked = Watched { probe: Err(Fault::new("BTN-0174", "no", "mend it")), stop: None, ..watched.clone() };
        let assignment = Assignment {
            group: group(),
            epoch: Epoch(3),
            index: 17,
            member: Some(MemberName::new("a").expect("a name")),
            part: Part::Yielding,
            lease: Some(Lease { lasts: Span::from_secs(5), stop_within: Span::from_secs(1) }),
            components: vec![watched, unasked],
        };
        let fence = Fence { generation: 0, term: 4, index: 17 };
        let assigning = Assigning { request: 9, fence, assignments: vec![assignment] };
        assert_eq!(parse_assign(assign(&assigning)), Ok(assigning));
        assert_eq!(parse_assigned(assigned(9, fence)), (9, fence.reign(), 17));
        let tenure = Tenure { group: group(), epoch: Epoch(3), index: 17, lease_left: Span(4_000), quiet: false };
        assert_eq!(parse_tenures(&tenures(std::slice::from_ref(&tenure))), Ok(vec![tenure]));
        assert_eq!(parse_tenures(&[]), Ok(Vec::new()), "an agent that knows of none");
        let granted = Renewal { group: group(), epoch: Epoch(3), index: 17, lasts: Span(5_000) };
        assert_eq!(parse_renewal(renewal(&granted)), Ok(granted));
        let one = Seen {
            group: group(),
            component: component.clone(),
            health: Health::Intruding,
            since: Moment(1),
            at: Moment(2),
            what: "it runs".into(),
        };
        assert_eq!(parse_probed(&probed(std::slice::from_ref(&one))), Ok(vec![one]));
        let deed = Deed {
            number: 1,
            group: group(),
            component: Some(component),
            at: Moment(3),
            what: "stopped it".into(),
            failed: false,
        };
        assert_eq!(parse_deeds(&deeds(std::slice::from_ref(&deed))), Ok(vec![deed]));
    }

    #[test]
    fn what_has_no_bound_is_refused_or_cut() {
        let deed = |number| Deed {
            number,
            group: group(),
            component: None,
            at: Moment(0),
            what: "ä".repeat(WORDS_BYTES_MAX),
            failed: true,
        };
        let kept = parse_deeds(&deeds(&[deed(1)])).expect("one");
        assert!(kept[0].what.len() <= WORDS_BYTES_MAX + "…".len());
        let many: Vec<Deed> = (0..=DEEDS_MAX as u64).map(deed).collect();
        assert_eq!(parse_deeds(&deeds(&many)).expect_err("too many").field, "deeds");
        assert!(parse_renewal(pb::Renewal { group: "dm".into(), ..Default::default() }).is_err());
    }
}
