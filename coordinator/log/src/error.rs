//! What can go wrong, a variant for each thing a caller does differently.
//!
//! openraft's own errors end here; nothing outside this crate may depend on them.

use openraft::AsyncRuntime;
use openraft::errors::{ClientWriteError, Fatal, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError};

use crate::raft::{Node, Types};

/// A node could not be opened or told what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The numbers do not fit together.
    #[error("the log's options are wrong: {0}")]
    Options(String),
    /// The file could not be opened, read or written.
    #[error("the log's storage: {0}")]
    Storage(String),
    /// The file is not as it was written. Nothing in it can be trusted, and nothing of it was changed that could be.
    #[error("the log's storage is damaged: {0}")]
    Damaged(String),
    /// The application does not know an entry, or a snapshot. In its own words.
    #[error("{0}")]
    NotUnderstood(String),
    /// [`crate::Log::initialize`] on a node that already has a log. Harmless when repeated.
    #[error("this node already belongs to a cluster")]
    AlreadyInitialized,
    /// Membership can only be changed by the leader.
    #[error("not the leader{}", hint(.leader))]
    NotLeader {
        /// Who is, when known.
        leader: Option<Node>,
    },
    /// The change was refused; the text says why.
    #[error("the membership change was refused: {0}")]
    Refused(String),
    /// It did not happen within the deadline. It may still.
    #[error("{0} did not happen in time")]
    Timeout(&'static str),
    /// The node stopped, on request or because its storage failed.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

/// Why a node stopped that nobody had asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Its storage failed, or the application panicked.
    Broken(String),
    /// The application does not know an entry, or a snapshot. In its own words.
    NotUnderstood(String),
}

/// A proposal or a read was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing happened here; ask the leader. `None` while there is an election.
    #[error("not the leader{}", hint(.leader))]
    NotLeader {
        /// Who is, when known.
        leader: Option<Node>,
    },
    /// This node leads but has lost its majority. Nothing happened.
    #[error("no majority of coordinators answers")]
    NoQuorum,
    /// **The outcome is unknown**: the entry may be, or may still become, committed. Deduplicate before repeating.
    #[error("no answer in time; the outcome is unknown")]
    Timeout,
    /// **The outcome is unknown**: leadership changed while the entry was on its way.
    #[error("leadership changed before the entry was committed; the outcome is unknown")]
    LeadershipLost {
        /// Who leads now, when known.
        leader: Option<Node>,
    },
    /// Nothing happened.
    #[error("an entry of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The node stopped, on request or because its storage failed. The outcome is unknown.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

impl ProposeError {
    /// Whether the entry may have been, or may still be, committed.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Timeout | Self::LeadershipLost { .. } | Self::Stopped(_) => true,
            Self::NotLeader { .. } | Self::NoQuorum | Self::TooLarge { .. } => false,
        }
    }

    fn forward<R: AsyncRuntime>(forward: ForwardToLeader<Types<R>>) -> Self {
        match forward.reason {
            ForwardReason::LeaseExpired => Self::NoQuorum,
            // After a transfer the target is named, which does not lead yet, but will at once or never.
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => Self::NotLeader { leader: leader(forward) },
        }
    }

    pub(crate) fn from_write<R: AsyncRuntime>(error: RaftError<Types<R>, ClientWriteError<Types<R>>>) -> Self {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(f)) => Self::forward(f),
            RaftError::APIError(ClientWriteError::LogEntryDiscarded(f)) => Self::LeadershipLost { leader: leader(f) },
            RaftError::APIError(other) => Self::Stopped(other.to_string()),
            RaftError::Fatal(fatal) => Self::Stopped(fatal.to_string()),
        }
    }

    pub(crate) fn from_read<R: AsyncRuntime>(error: RaftError<Types<R>, LinearizableReadError<Types<R>>>) -> Self {
        match error {
            RaftError::APIError(LinearizableReadError::ForwardToLeader(f)) => Self::forward(f),
            RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Self::NoQuorum,
            RaftError::Fatal(fatal) => Self::Stopped(fatal.to_string()),
        }
    }
}

impl Error {
    pub(crate) fn from_change<R: AsyncRuntime>(error: RaftError<Types<R>, ClientWriteError<Types<R>>>) -> Self {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(f) | ClientWriteError::LogEntryDiscarded(f)) => {
                Self::NotLeader { leader: leader(f) }
            }
            RaftError::APIError(other) => Self::Refused(other.to_string()),
            RaftError::Fatal(fatal) => Self::from_fatal(fatal),
        }
    }

    pub(crate) fn from_fatal<R: AsyncRuntime>(fatal: Fatal<Types<R>>) -> Self {
        Self::Stopped(fatal.to_string())
    }
}

fn leader<R: AsyncRuntime>(forward: ForwardToLeader<Types<R>>) -> Option<Node> {
    forward.leader_node
}

fn hint(leader: &Option<Node>) -> String {
    match leader {
        Some(node) => format!("; it is {node}"),
        None => "; nobody is at the moment".to_owned(),
    }
}
