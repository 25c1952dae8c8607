//! What a status says about whom to ask next. Pure.

use baton_platform::address::Address;
use baton_wire::fault::{Redirect, from_status, redirect};
use tonic::{Code, ConnectError, Status};

use crate::{
    exit::Exit,
    failure::{Failure, code},
};

/// What to do after an answer that is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Ask the leader, if it is known who leads.
    Follow(Option<Address>),
    /// Ask another one.
    Elsewhere {
        why: String,
        /// The request may have been received, so a change may have been made.
        reached: bool,
    },
    /// This is the answer.
    Final(Failure),
}

pub fn judge(status: &Status) -> Verdict {
    match redirect(status) {
        Some(Redirect::To(leader)) => return Verdict::Follow(leader.parse().ok()),
        Some(Redirect::Unknown) => return Verdict::Follow(None),
        None => {}
    }
    if let Some(fault) = from_status(status) {
        return Verdict::Final(Failure::of_status(status, fault));
    }
    let causes = causes(status);
    // Only what went wrong on the way has a cause on this side; what a coordinator says has none.
    if !causes.is_empty() || matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Aborted) {
        let why = causes.last().cloned().unwrap_or_else(|| status.message().to_owned());
        return Verdict::Elsewhere { why, reached: !never_connected(status) };
    }
    Verdict::Final(Failure::new(
        Exit::Failed,
        code::COORDINATOR_FAILED,
        format!("the coordinator failed: {} ({:?}).", status.message(), status.code()),
        "Its log says more.",
    ))
}

/// The chain of causes, the deepest last.
fn causes(status: &Status) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes
}

fn never_connected(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_model::outcome::Fault;
    use baton_wire::fault::{not_leader, to_status};

    #[test]
    fn redirects_are_followed_and_refusals_are_final() {
        let leader = "127.0.0.1:7402".parse().unwrap();
        assert_eq!(judge(&not_leader(Some("127.0.0.1:7402"))), Verdict::Follow(Some(leader)));
        assert_eq!(judge(&not_leader(None)), Verdict::Follow(None));
        assert_eq!(judge(&not_leader(Some("nonsense"))), Verdict::Follow(None));
        let exits = [("BTN-0102", Exit::Refused), ("BTN-0111", Exit::NotFound), ("BTN-0099", Exit::Usage)];
        for (code, exit) in exits {
            let fault = Fault::new(code, "a", "b");
            assert_eq!(judge(&to_status(&fault)), Verdict::Final(Failure { exit, fault }));
        }
    }

    #[test]
    fn a_change_that_may_have_arrived_is_told_from_one_that_did_not() {
        let cut_off = Status::unavailable("no quorum");
        assert_eq!(judge(&cut_off), Verdict::Elsewhere { why: "no quorum".into(), reached: true });
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let refused = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        assert!(matches!(judge(&refused), Verdict::Elsewhere { reached: false, .. }), "{:?}", judge(&refused));
        assert!(matches!(judge(&Status::internal("bug")), Verdict::Final(Failure { exit: Exit::Failed, .. })));
    }
}
