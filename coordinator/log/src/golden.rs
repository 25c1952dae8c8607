//! What is on disk and between coordinators, byte for byte: openraft's types in postcard. A newer openraft, or a field of ours, that
//! changes them must raise the format and convert.
//!
//! `BATON_GOLDEN=write` writes the file anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use openraft::Membership;
use openraft::StoredMembership;
use openraft::entry::RaftEntry;

use crate::encoding::{decode, encode};
use crate::raft::{CommittedLeaderId, Entry, EntryPayload, LogId, Node, Payload, SnapshotMeta, Vote};
use crate::store::SnapshotRecord;

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

fn membership() -> Membership<u64, Node> {
    let node = |number: u64| Node { name: format!("c{number}"), address: format!("10.0.0.{number}:7400") };
    let nodes: BTreeMap<u64, Node> = (1..=3).map(|number| (number, node(number))).collect();
    Membership::new(vec![BTreeSet::from([1, 2, 3])], nodes).expect("every voter has a node")
}

/// Encoded, and read back as the same.
fn shown<T>(name: &str, value: &T) -> String
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let bytes = encode(value);
    let again: T = decode(&bytes).expect("it reads what it wrote");
    assert_eq!(encode(&again), bytes, "{name}");
    let mut line = format!("{name} ");
    bytes.iter().for_each(|byte| write!(line, "{byte:02x}").expect("into memory"));
    line + "\n"
}

#[test]
fn what_is_on_disk_keeps_its_form() {
    let entry = |payload| Entry { log_id: log_id(7, 300), payload };
    let normal = entry(EntryPayload::Normal(Payload(Bytes::from_static(b"a proposal"))));
    assert_eq!(normal.index(), 300);
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(7, 299)),
        last_membership: StoredMembership::new(Some(log_id(1, 0)), membership()),
    };
    let lines = [
        shown("vote", &Vote::new(7, 2)),
        shown("vote that was granted", &Vote::new_committed(7, 2)),
        shown("log id", &log_id(7, 300)),
        shown("committed", &Some(log_id(7, 300))),
        shown("entry of the application", &normal),
        shown("empty entry of a new leader", &entry(EntryPayload::Blank)),
        shown("entry of the members", &entry(EntryPayload::Membership(membership()))),
        shown("snapshot", &SnapshotRecord { meta, generation: 4, parts: 1, bytes: 70_000 }),
        shown("format", &1_u32),
        shown("owner", &("cluster".to_owned(), 2_u64)),
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golden/format-1.txt");
    if std::env::var_os("BATON_GOLDEN").is_some() {
        std::fs::write(&path, lines.concat()).expect("write the golden file");
    }
    assert_eq!(lines.concat(), std::fs::read_to_string(&path).expect("the golden file"));
}
