//! A small made-up product: what an operator of the simulated installation applies.
//!
//! `ledger` has no lease and steps of every kind; `lone` is exclusive, has a lease and fails over by itself; `pair` is as exclusive, on two hosts
//! a member, and moves by an operator's word alone.

use baton_proto::v1::SourceFile;

pub const GROUPS: [&str; 3] = ["ledger", "lone", "pair"];

/// What must not run on two members at once: the service, and each member's hosts.
pub const EXCLUSIVE: [(&str, &str, [&[&str]; 2]); 2] =
    [("lone", "solo", [&["e1"], &["w1"]]), ("pair", "duo", [&["e1", "e2"], &["w1", "w2"]])];

pub const RUNBOOKS: [(&str, &[&str]); 3] = [
    ("ledger", &["switchover", "count", "many"]),
    ("lone", &["failover", "switchback", "start"]),
    ("pair", &["switchover", "start"]),
];

const HOSTS: &str = "hosts:
  e1: { site: east, address: e1 }
  e2: { site: east, address: e2 }
  w1: { site: west, address: w1 }
  w2: { site: west, address: w2 }
";

const LEDGER: &str = "group: ledger
description: steps of every kind, and no lease
primary: east
members:
  east: { hosts: { database: e1, app: e2 } }
  west: { hosts: { database: w1, app: w2 } }
HOSTS
connections:
  db: { kind: postgres, host: \"${host.address}\", database: ledger, user: baton }
components:
  app: { on: app, probe: { service: { name: app } }, every: 2s, timeout: 2s }
runbooks: { switchover: ledger-switchover.yaml, count: ledger-count.yaml, many: ledger-many.yaml }
";

const LEDGER_SWITCHOVER: &str = "runbook: switchover
inputs:
  token: { type: string, required: true }
steps:
  - name: Stop the application
    on: old.app
    timeout: 10s
    service.stop: { name: app }
    undo: { service.start: { name: app } }
  - name: Write the last entry
    on: old.database
    timeout: 10s
    sql.exec:
      connection: db
      statements: [{ sql: insert, params: [\"${input.token}-last\"] }]
  - name: Tell the new side
    on: new.database
    timeout: 10s
    exec.run: { argv: [/sim/once, \"${input.token}-told\"] }
  - name: Go on?
    confirm: The other side is ready
  - role.transfer: { detach_old: false }
  - name: Write the first entry
    on: new.database
    timeout: 10s
    sql.exec:
      connection: db
      statements: [{ sql: insert, params: [\"${input.token}-first\"] }]
      unless: { sql: \"is it there?\" }
  - name: Start the application
    on: new.app
    timeout: 10s
    service.start: { name: app }
";

const LEDGER_COUNT: &str = "runbook: count
inputs:
  token: { type: string, required: true }
steps:
  - name: Count once
    on: old.database
    timeout: 6s
    exec.run: { argv: [/sim/once, \"${input.token}-1\"] }
    undo: { exec.run: { argv: [/sim/once, \"${input.token}-undone\"] } }
  - name: Count on both sides
    on: [old.database, new.database]
    timeout: 6s
    unreachable: skip
    sql.exec:
      connection: db
      statements: [{ sql: insert, params: [\"${input.token}-2\"] }]
  - name: Count again
    on: old.database
    timeout: 6s
    exec.run: { argv: [/sim/once, \"${input.token}-3\"], creates: /sim/3 }
";

const LEDGER_MANY: &str = "runbook: many
inputs:
  token: { type: string, required: true }
steps:
  - together:
      - name: On all application servers
        on: [old.app, new.app]
        timeout: 8s
        exec.run: { argv: [/sim/once, \"${input.token}-a\"] }
      - name: On all databases
        on: [old.database, new.database]
        timeout: 8s
        on_failure: continue
        sql.exec:
          connection: db
          statements: [{ sql: insert, params: [\"${input.token}-b\"] }]
          unless: { sql: \"is it there?\" }
  - name: Again where that is no harm
    on: [old.app, new.app]
    parallel: 1
    timeout: 8s
    retry: { attempts: 3, delay: 1s }
    exec.run: { argv: [/sim/once, \"${input.token}-c\"], repeatable: true }
";

const LONE: &str = "group: lone
description: one that must not run twice, and fails over by itself
primary: east
members:
  east: { hosts: { service: e1 } }
  west: { hosts: { service: w1 } }
HOSTS
components:
  solo: { on: service, probe: { service: { name: solo } }, exclusive: true, every: 1s, timeout: 1s, checks: 2 }
lease: { lasts: 9s, stop_within: 2s }
automatic: { mode: on, any: [solo], for: 2s, grace: 3s, cooldown: 5s, runbook: failover }
runbooks: { failover: lone-failover.yaml, switchback: lone-switchback.yaml, start: lone-start.yaml }
";

const LONE_FAILOVER: &str = "runbook: failover
steps:
  - name: Stop it where it was
    on: old.service
    timeout: 4s
    unreachable: skip
    on_failure: continue
    service.stop: { name: solo }
  - role.transfer: { detach_old: false }
  - name: Start it
    on: new.service
    timeout: 10s
    retry: { attempts: 2, delay: 1s }
    service.start: { name: solo }
";

const LONE_SWITCHBACK: &str = "runbook: switchback
steps:
  - name: Stop it where it was
    on: old.service
    timeout: 6s
    service.stop: { name: solo }
    undo: { service.start: { name: solo } }
  - role.transfer: { detach_old: false }
  - name: Start it
    on: new.service
    timeout: 10s
    service.start: { name: solo }
  - automatic.rearm: {}
";

const LONE_START: &str = "runbook: start
steps:
  - name: Start it
    on: old.service
    timeout: 10s
    service.start: { name: solo }
";

const PAIR: &str = "group: pair
description: one that must not run on two members, on two hosts each
primary: west
members:
  east: { hosts: { service: [e1, e2] } }
  west: { hosts: { service: [w1, w2] } }
HOSTS
components:
  duo: { on: service, probe: { service: { name: duo } }, exclusive: true, every: 1s, timeout: 1s }
lease: { lasts: 12s, stop_within: 2s }
automatic: { mode: off, any: [duo], for: 2s, runbook: switchover }
runbooks: { switchover: pair-switchover.yaml, start: pair-start.yaml }
";

const PAIR_SWITCHOVER: &str = "runbook: switchover
steps:
  - name: Stop it where it was
    on: old.service
    timeout: 6s
    unreachable: skip
    service.stop: { name: duo }
    undo: { service.start: { name: duo } }
  - role.transfer: { detach_old: false }
  - name: Start it
    on: new.service
    timeout: 10s
    service.start: { name: duo }
";

const PAIR_START: &str = "runbook: start
steps:
  - name: Start it
    on: old.service
    timeout: 10s
    service.start: { name: duo }
";

/// Every file, as the command would send them.
pub fn files() -> Vec<SourceFile> {
    [
        ("ledger.yaml", LEDGER),
        ("ledger-switchover.yaml", LEDGER_SWITCHOVER),
        ("ledger-count.yaml", LEDGER_COUNT),
        ("ledger-many.yaml", LEDGER_MANY),
        ("lone.yaml", LONE),
        ("lone-failover.yaml", LONE_FAILOVER),
        ("lone-switchback.yaml", LONE_SWITCHBACK),
        ("lone-start.yaml", LONE_START),
        ("pair.yaml", PAIR),
        ("pair-switchover.yaml", PAIR_SWITCHOVER),
        ("pair-start.yaml", PAIR_START),
    ]
    .into_iter()
    .map(|(path, text)| SourceFile { path: path.to_owned(), text: text.replace("HOSTS\n", HOSTS) })
    .collect()
}
