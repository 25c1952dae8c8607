//! The simulator's: T-SQL, read and carried out, and what a client of TDS sends.

use std::sync::LazyLock;

use baton_sqlserver::{
    control::{GroupPlan, ReplicaPlan, WorldBuilder, stage::Stage},
    sql::{parse, value},
    tds::{login::Login7, packet, prelogin::Prelogin, request},
    world::{World, group::ClusterType},
};
use bytes::BytesMut;

use super::{Target, all_of, shape, shape_of, text};
use crate::corpus::literals;

pub(super) const ALL: &[Target] = &[
    Target { name: "t-sql", what: "the simulator's T-SQL, read", corpus: statements, feed: read },
    Target { name: "t-sql-run", what: "the simulator's T-SQL, carried out in a world", corpus: statements, feed: run },
    Target { name: "tds", what: "the simulator's packets, logins and requests", corpus: messages, feed: received },
];

/// What the agents, the labs and the simulator's own tests send.
fn statements() -> Vec<Vec<u8>> {
    const WORDS: &[&str] = &[
        "SELECT ", "ALTER ", "BACKUP ", "RESTORE ", "EXEC ", "CREATE ", "INSERT ", "DROP ", "DECLARE ", "KILL ",
        "UPDATE ", "DELETE ", "SET ", "USE ", "BEGIN", "WAITFOR", "PRINT ", "IF ",
    ];
    ["agent/src/action/mssql", "agent/src/host", "tests/sqlserver/tests", "tests/sqlserver/src"]
        .iter()
        .flat_map(|place| literals(place, WORDS))
        .collect()
}

fn read(case: &[u8]) -> u64 {
    let text = text(case);
    let batch = parse::batch(&text).map_err(|(error, line)| format!("{} {line}", error.number));
    all_of([shape_of(batch), shape_of(parse::declarations(&text).map_err(|error| error.number))])
}

/// Two instances and a database in a group.
fn world() -> World {
    static WORLD: LazyLock<World> = LazyLock::new(|| {
        let built = WorldBuilder::new().seed(1).instance("S1", "127.0.0.1:1", "p").instance("S2", "127.0.0.1:2", "p");
        let group = GroupPlan {
            name: "AG".to_owned(),
            cluster: ClusterType::Wsfc,
            databases: vec!["db1".to_owned()],
            replicas: vec![ReplicaPlan::synchronous("S1"), ReplicaPlan::synchronous("S2")],
            listener: None,
            required_synchronized: 0,
        };
        built.group(group).build(1_795_230_000_000)
    });
    WORLD.clone()
}

fn run(case: &[u8]) -> u64 {
    let text = text(case);
    // Files are none of its business here.
    let touches_files =
        ["DISK", "xp_", "SHIPPING"].iter().any(|word| text.to_ascii_uppercase().contains(&word.to_ascii_uppercase()));
    if touches_files || parse::batch(&text).is_err() {
        return 0;
    }
    let mut stage = Stage::new(world());
    let outcome = stage.ask("S1", &text);
    // The numbers of errors are what tells them apart.
    let errors = outcome.errors().into_iter().map(|number| u64::try_from(number).unwrap_or(0));
    all_of(errors.chain([u64::from(outcome.succeeded()), outcome.rows().len().min(5) as u64]))
}

fn messages() -> Vec<Vec<u8>> {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let batch = [&[4, 0, 0, 0][..], &utf16("SELECT @@SERVERNAME")].concat();
    // sp_executesql by its number, with one text.
    let statement = utf16("SELECT 1");
    let length = u16::try_from(statement.len()).unwrap_or(0).to_le_bytes();
    let call = [
        &[4, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0][..],
        &[0, 0, 0xe7, 0x40, 0x1f, 9, 4, 0xd0, 0, 0x34],
        &length,
        &statement,
    ]
    .concat();
    let prelogin = vec![0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 0x0c, 0, 0, 0, 0, 0, 1];
    let packet = |kind: u8, body: &[u8]| {
        let length = u16::try_from(body.len() + 8).unwrap_or(8).to_be_bytes();
        [&[kind, 1, length[0], length[1], 0, 0, 1, 0][..], body].concat()
    };
    let packets = [packet(1, &batch), packet(3, &call), packet(18, &prelogin)];
    [batch, call, prelogin, vec![0; 94]].into_iter().chain(packets).collect()
}

fn received(case: &[u8]) -> u64 {
    let mut stream = BytesMut::from(case);
    let mut packets = Vec::new();
    while let Ok(Some(packet)) = packet::split(&mut stream) {
        packets.push(shape(&format!("{packet:?}")));
    }
    let text = text(case);
    all_of([
        all_of(packets),
        shape_of(Prelogin::decode(case)),
        shape_of(Login7::decode(case)),
        shape_of(request::batch(case)),
        shape_of(request::calls(case)),
        shape_of(request::transaction(case)),
        u64::from(value::read_time(&text).is_some()),
        u64::from(value::read_guid(&text).is_some()),
    ])
}
