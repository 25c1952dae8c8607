//! What this coordinator tells load balancers: where each host stands, by its own copy of the state and by what the host's agent said.
//!
//! Apart because it only reads, on every coordinator alike. It must never say "primary" for a host whose agent it does not hear, where
//! the group has a lease: the agent's own word is what a lease is.

use std::sync::Arc;

use async_trait::async_trait;
use baton_engine::{assign, state::Group};
use baton_log::Log;
use baton_model::{
    assignment::Part,
    ids::{GroupName, HostName},
};
use baton_web::{Standing, Standings};

use crate::{definitions, replica::Replica, sessions::Sessions};

/// Pages over the replica and the sessions.
pub struct Pages {
    log: Log<Replica>,
    sessions: Sessions,
}

impl Pages {
    pub fn new(log: Log<Replica>, sessions: Sessions) -> Arc<Self> {
        Arc::new(Self { log, sessions })
    }

    /// What is left of the lease that a host's agent last told of, now.
    fn left_ms(&self, host: &HostName, name: &GroupName, group: &Group) -> Option<u64> {
        let (tenure, ago) = self.sessions.tenure(host, name)?;
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        (tenure.epoch == group.epoch).then(|| tenure.lease_left.as_millis().saturating_sub(ago))
    }

    fn told(&self, name: &GroupName, group: &Group, part: Part, host: Option<&HostName>) -> Standing {
        let leased = group.definition.lease.is_some();
        let left = host.filter(|_| leased).map(|host| self.left_ms(host, name, group));
        let why_not = match (part, left) {
            (Part::Primary, None) => None,
            (Part::Primary, Some(Some(left))) if left > 0 => None,
            (Part::Primary, Some(Some(_))) => Some("its lease is over".to_owned()),
            (Part::Primary, Some(None)) => Some("its agent is not heard here".to_owned()),
            (Part::Yielding, _) => Some("it is about to lose the role".to_owned()),
            (Part::Standby, _) => Some("another member is primary".to_owned()),
            (Part::Shared, _) => Some("this host is of no member".to_owned()),
        };
        Standing {
            group: name.to_string(),
            primary: why_not.is_none(),
            member: None,
            epoch: group.epoch.0,
            lease_left_ms: left.flatten(),
            why_not,
        }
    }
}

#[async_trait]
impl Standings for Pages {
    /// Without a host: whether the group has a primary that serves, on the hosts that hold its lease.
    async fn of(&self, group: &str, host: Option<&str>) -> Option<Standing> {
        let name = GroupName::new(group).ok()?;
        let host = host.map(HostName::new).transpose().ok()?;
        // Beside the log's lock: whoever reaches this port must not be able to slow the log down.
        let (group, yielding) = self.log.with(|replica| {
            let group = replica.state.groups.get(&name)?.clone();
            Some((group, assign::yielding(&replica.state, &name)))
        })?;
        let group = &group;
        match host {
            Some(host) => {
                if !group.definition.hosts.contains(&host) {
                    return None;
                }
                let member = definitions::group_of(group).ok()?.member_of(&host).cloned();
                let part = assign::part(group, yielding, member.as_ref());
                // A lease is held by those that have something to stop; the member's other hosts are what it is.
                let holds = assign::holders(group).any(|holder| *holder == host);
                let told = self.told(&name, group, part, Some(&host).filter(|_| holds));
                Some(Standing { member: member.map(|member| member.to_string()), ..told })
            }
            None => {
                let part = assign::part(group, yielding, Some(&group.primary));
                let holders: Vec<&HostName> = assign::holders(group).collect();
                let each = holders.iter().map(|host| self.told(&name, group, part, Some(host)));
                // The worst of them speaks for all.
                let worst = each.min_by_key(|told| (told.primary, told.lease_left_ms));
                let told = worst.unwrap_or_else(|| self.told(&name, group, part, None));
                Some(Standing { member: Some(group.primary.to_string()), ..told })
            }
        }
    }

    async fn healthy(&self) -> Result<(), String> {
        let leadership = self.log.leadership().borrow().clone();
        match leadership.leader_id {
            Some(_) => Ok(()),
            None => Err("no leader is known".to_owned()),
        }
    }
}
