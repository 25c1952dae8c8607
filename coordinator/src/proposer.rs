//! The one way to change anything: a command, its author and the moment, into the log.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_engine::{
    codec::{self, CodecError},
    command::{Answer, Command, Proposal},
};
use baton_log::{Log, ProposeError};
use baton_model::{
    author::{Actor, Author},
    outcome::Fault,
    time::{Moment, Span},
};
use baton_platform::clock::Clock;

use crate::{replica::Replica, stamps::Stamps};

/// How long one proposal may take before its outcome is called unknown.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A request is its caller's own: nobody is answered what somebody else asked.
pub fn request_of(who: &Actor, id: &str) -> String {
    format!("{who}: {id}")
}

#[derive(Clone)]
pub struct Proposer {
    log: Log<Replica>,
    clock: Arc<dyn Clock>,
    stamps: Arc<Mutex<Stamps>>,
    name: String,
}

/// Why a proposal has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    #[error(transparent)]
    Log(#[from] ProposeError),
    /// Committed, and refused by the engine: nothing changed.
    #[error("{0}")]
    Refused(Fault),
    #[error("the log's answer was not understood: {0}")]
    Answer(String),
}

impl Proposer {
    pub fn new(log: Log<Replica>, clock: Arc<dyn Clock>, name: String) -> Self {
        Self { log, clock, stamps: Arc::default(), name }
    }

    /// The moment: by this node's clock, but never before the latest entry. A leader whose clock is behind its
    /// predecessor's would wait for a time that has been, and one whose clock went back goes on from there ([`Stamps`]).
    pub fn now(&self) -> Moment {
        let latest = self.log.with(|replica| replica.state.latest);
        let mut stamps = self.stamps.lock().expect("arithmetic does not panic");
        stamps.now(Moment(self.clock.now_unix_ms()), latest, self.clock.monotonic_ms())
    }

    /// How far this node's clock is behind the latest entry: so much too small is every age that is counted to [`Self::now`].
    pub fn behind(&self) -> Span {
        let latest = self.log.with(|replica| replica.state.latest);
        latest.since(Moment(self.clock.now_unix_ms()))
    }

    /// This coordinator as an author.
    pub fn itself(&self) -> Actor {
        Actor::Coordinator(self.name.clone())
    }

    /// Commits a command and returns the engine's answer. With a `request` id the same wish is answered again, not done
    /// again, so it may be repeated when the outcome is unknown.
    pub async fn propose(
        &self,
        who: Actor,
        why: &str,
        request: Option<String>,
        command: Command,
    ) -> Result<Answer, ProposalError> {
        let request = request.map(|id| request_of(&who, &id));
        let author = Author { who, when: self.now(), why: why.to_owned() };
        let payload = codec::encode_proposal(&Proposal { author, request, command });
        // An entry that cannot be read stops every coordinator, and again at every start: it must not get into the log. JSON that is
        // nested too deeply can be written and not be read, and an agent says what it likes in its data.
        codec::decode_proposal(&payload).map_err(|error| ProposalError::Refused(unreadable(&error)))?;
        let proposed = self.log.propose(payload, PROPOSE_TIMEOUT).await?;
        match codec::decode_answer(&proposed.response).map_err(|error| ProposalError::Answer(error.to_string()))? {
            Answer::Refused { fault } => Err(ProposalError::Refused(fault)),
            answer => Ok(answer),
        }
    }
}

/// Nobody could read it again.
fn unreadable(error: &CodecError) -> Fault {
    let message = format!("what was to be written into the log could not be read again: {error}.");
    Fault::new(
        "BTN-0154",
        message,
        "Nothing was written. See what its author sent; with data that is less deep it is taken.",
    )
}
