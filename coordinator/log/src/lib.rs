//! The replicated log: all of openraft, and the redb file below it, behind one handle.
//!
//! Nothing outside this crate may name openraft; its releases and their differences end here. The crate knows nothing
//! of groups, runs or agents: it replicates bytes, and an [`Application`] makes sense of them.
//!
//! ```text
//! Log::propose ─▶ openraft ─▶ LogStore (one writer, one fsync a batch) ─▶ redb
//!                    │  ▲
//!     Peers (gRPC) ◀─┘  └─ Receiver (gRPC)
//!                    │
//!                    └─▶ Machine ─▶ Application ─▶ Log::with
//! ```
//!
//! What stays true:
//! - An entry is reported as durable only after the fsync that covers it; votes likewise.
//! - One leader per term, and one term per leadership: the term alone fences.
//! - The log below a snapshot is thrown away only after the snapshot is durable.
//! - Nothing here reads the wall clock; connectors, storage and the runtime (time, randomness) are injected.

#![warn(missing_docs)]

#[cfg(test)]
mod conformance;
#[cfg(test)]
#[path = "../tests/support/disk.rs"]
mod disk;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod golden;

mod application;
mod encoding;
mod error;
mod leadership;
mod log;
mod machine;
mod options;
mod peers;
mod raft;
mod receiver;
mod status;
mod store;

pub use openraft::AsyncRuntime;
pub use redb::StorageBackend;

pub use crate::application::{Application, AppliedEntry};
pub use crate::error::{Error, Failure, ProposeError};
pub use crate::leadership::Leadership;
pub use crate::log::{Log, Proposed};
pub use crate::options::{Options, Storage};
pub use crate::peers::PeerConnector;
pub use crate::raft::{Node, Tokio};
pub use crate::receiver::{Authorize, RaftServer, Receiver};
pub use crate::status::{Member, Role, Status};
