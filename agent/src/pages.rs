//! What this agent tells load balancers of its own host.
//!
//! Apart because it only reads. It must never say "primary" for a host whose lease is over, nor for another host than its own.

use std::sync::Arc;

use async_trait::async_trait;
use baton_model::{
    assignment::{Assignment, Part},
    ids::HostName,
};
use baton_web::Standings;

use crate::guard::Post;

/// Pages over the post.
pub struct Pages {
    post: Post,
    host: HostName,
}

impl Pages {
    pub fn new(post: Post, host: HostName) -> Arc<Self> {
        Arc::new(Self { post, host })
    }
}

#[async_trait]
impl Standings for Pages {
    async fn of(&self, group: &str, host: Option<&str>) -> Option<baton_web::Standing> {
        if host.is_some_and(|host| host != self.host.as_str()) {
            return None;
        }
        self.post.read(|standing, now_ms| {
            let assignment = standing.assigned().list.iter().find(|of| of.group.as_str() == group)?;
            let tenure = standing.tenures(now_ms).into_iter().find(|tenure| tenure.group == assignment.group)?;
            Some(told(assignment, tenure.lease_left.0))
        })
    }

    async fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}

fn told(assignment: &Assignment, lease_left_ms: u64) -> baton_web::Standing {
    // A host of the primary with nothing to stop holds no lease, and needs none.
    let leased = assignment.lease.is_some() && assignment.components.iter().any(|watched| watched.exclusive);
    let why_not = match assignment.part {
        Part::Primary if leased && lease_left_ms == 0 => Some("its lease is over".to_owned()),
        Part::Primary => None,
        Part::Yielding => Some("it is about to lose the role".to_owned()),
        Part::Standby => Some("another member is primary".to_owned()),
        Part::Shared => Some("this host is of no member".to_owned()),
    };
    baton_web::Standing {
        group: assignment.group.to_string(),
        primary: why_not.is_none(),
        member: assignment.member.as_ref().map(ToString::to_string),
        epoch: assignment.epoch.0,
        lease_left_ms: leased.then_some(lease_left_ms),
        why_not,
    }
}
