//! The types that openraft is instantiated with, named once.
//!
//! Everything persisted or sent between coordinators is made of these, encoded with postcard; a change here is a
//! change of format. They must never depend on the asynchronous runtime: only [`Types`] carries it, as
//! a parameter, so that a simulation can plug in a deterministic one without a cargo feature that would leak
//! into production builds.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The runtime of production builds.
pub type Tokio = openraft_runtime::Tokio;

mod openraft_runtime {
    // The re-export is marked deprecated in favour of a sister crate that would be one more version to pin.
    #[allow(deprecated)]
    pub type Tokio = openraft::TokioRuntime;
}

/// A coordinator as its peers know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Node {
    /// The name in its certificate.
    pub name: String,
    /// Where peers and clients reach it: `host:port`.
    pub address: String,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// The payload of an entry. Cheap to clone: the log, the network and the state machine share one buffer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, v: &[u8]) -> Result<Payload, E> {
                Ok(Payload(Bytes::copy_from_slice(v)))
            }

            fn visit_byte_buf<E>(self, v: Vec<u8>) -> Result<Payload, E> {
                Ok(Payload(Bytes::from(v)))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Raft proper: at most one leader per term, so that the term alone fences. (openraft's own default
/// allows several, ordered by node id.)
pub type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
/// What a log id keeps of the leader: the term.
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
/// Term and index.
pub type LogId = openraft::LogId<CommittedLeaderId>;
/// Whom this node voted for, and whether a majority did.
pub type Vote = openraft::impls::Vote<LeaderId>;
/// What an entry holds: nothing, a [`Payload`], or a membership.
pub type EntryPayload = openraft::EntryPayload<Payload, u64, Node>;
/// A log entry.
pub type Entry = openraft::Entry<CommittedLeaderId, EntryPayload>;
/// A membership and the entry that set it.
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, Node>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, Node>;
/// A snapshot with its bytes.
pub type Snapshot = openraft::Snapshot<CommittedLeaderId, u64, Node, Bytes>;

/// openraft's type configuration over runtime `R`.
pub struct Types<R>(PhantomData<fn() -> R>);

impl<R: AsyncRuntime> openraft::RaftTypeConfig for Types<R> {
    type D = Payload;
    type R = Vec<u8>;
    type NodeId = u64;
    type Node = Node;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = EntryPayload;
    type Entry = Entry;
    type AsyncRuntime = R;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

// openraft asks these of a type that has no value; deriving them would ask them of `R` too.
impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Types<R> {}
impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}
impl<R> Default for Types<R> {
    fn default() -> Self {
        Types(PhantomData)
    }
}
impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<R> Eq for Types<R> {}
impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
