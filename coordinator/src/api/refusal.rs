//! How what went wrong inside reaches a caller.

use baton_log::ProposeError;
use baton_model::outcome::Fault;
use baton_wire::fault;
use tonic::Status;

use crate::proposer::ProposalError;

/// The caller goes to the leader, repeats, or reads the fault.
pub fn status_of(error: ProposalError) -> Status {
    match error {
        ProposalError::Refused(refused) => fault::to_status(&refused),
        ProposalError::Log(error) => status_of_log(error),
        ProposalError::Answer(what) => Status::internal(what),
    }
}

pub fn status_of_log(error: ProposeError) -> Status {
    match error {
        ProposeError::NotLeader { leader } | ProposeError::LeadershipLost { leader } => {
            fault::not_leader(leader.as_ref().map(|node| node.address.as_str()))
        }
        // With the same request id the caller may ask again.
        ProposeError::NoQuorum | ProposeError::Timeout | ProposeError::Stopped(_) => {
            Status::unavailable(error.to_string())
        }
        ProposeError::TooLarge { bytes, limit } => fault::to_status(&Fault::new(
            "BTN-0142",
            format!("the change is {bytes} bytes, the log takes {limit}."),
            "Split the files, or shorten the plan.",
        )),
    }
}
