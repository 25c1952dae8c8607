//! Slony-I on two real PostgreSQL servers, with real slons. Where no action leads back, the databases are made anew from copies
//! of what they were.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use baton_model::time::Span;
use serde_json::{Value, json};

use super::{
    agent::Agent,
    appliances::{Appliance, DATABASES, World, processes, signal, wait_until},
    cycle::go_through,
    row::{Outside, Row, Undo},
};

rows! {
    side by side;
    a_set_moves("slony.move_set");
    a_cluster_is_made("slony.init", "slony.drop");
    a_node_has_slons_and_another_joins("slony.start", "slony.stop", "slony.join");
    a_node_subscribes("slony.subscribe");
    databases_are_copied("slony.copy");
    a_set_is_checked("slony.caught_up", "slony.verify", "slony.origin", "slony.state");
    an_origin_is_lost("slony.evidence", "slony.lost_rows", "slony.advance_sequences", "slony.failover");
}

/// For a check that fails at once, and for one that waits in vain.
const SHORT: Span = Span::from_secs(15);
const IN_VAIN: Span = Span::from_secs(4);

/// Both servers, and copies of their databases as they were.
struct Pair {
    world: World,
    /// Whose slons run at the beginning.
    slons: [bool; 2],
    /// Whose server does not, from the beginning on.
    dead: Option<usize>,
    /// What makes a check fail.
    spoilt_by: Spoil,
}

enum Spoil {
    /// The server of A, or of B, dies.
    Death(usize),
    /// The slons end, and A takes a row.
    Silence,
    /// The slons end, and A takes the schema away.
    Schema,
}

impl Pair {
    /// As the databases are now, is the beginning.
    async fn new(world: World, slons: [bool; 2]) -> Self {
        let pair = Self { world, slons, dead: None, spoilt_by: Spoil::Death(0) };
        pair.silence();
        pair.hurry();
        for appliance in pair.both() {
            let client = appliance.client("postgres").await;
            for database in DATABASES {
                run(&client, &format!("DROP DATABASE IF EXISTS {database}_beginning")).await;
                run(&client, &format!("CREATE DATABASE {database}_beginning TEMPLATE {database}")).await;
            }
        }
        pair.start_slons();
        pair
    }

    fn both(&self) -> [&Appliance; 2] {
        [&self.world.a, &self.world.b]
    }

    fn runs(&self, appliance: &Appliance) -> bool {
        // Whoever killed it took this away.
        self.world.home.path().join(appliance.name).join("data/postmaster.pid").exists()
    }

    /// From their next start on the slons look about more often: a set is moved many times here, and they are what is waited for.
    fn hurry(&self) {
        for script in self.both().into_iter().flat_map(|appliance| DATABASES.map(|database| appliance.script(database)))
        {
            let text = fs::read_to_string(&script).expect("a script");
            fs::write(script, text.replace("-s 200 -t 1000", "-s 50 -t 250")).expect("written");
        }
    }

    /// Every slon is killed.
    fn silence(&self) {
        for appliance in self.both() {
            // A watchdog may start one more in between.
            wait_until("the slons are gone", || {
                let pids = appliance.slon_pids();
                pids.iter().for_each(|pid| signal(*pid, libc::SIGKILL));
                pids.is_empty()
            });
        }
    }

    fn start_slons(&self) {
        for (appliance, wanted) in self.both().into_iter().zip(self.slons) {
            if !wanted {
                continue;
            }
            for database in DATABASES {
                let status = Command::new(appliance.script(database)).status().expect("started");
                assert!(status.success(), "{status:?}");
            }
            let all = 2 * DATABASES.len();
            wait_until("a watchdog and a worker for each database", || appliance.slon_pids().len() == all);
        }
    }

    /// Waits until each node knows what the other one was told; what is outside is on its way until then.
    async fn settled(&self, database: &str) {
        let heard = "WITH own AS (SELECT _slony.getlocalnodeid('_slony') AS id),
            told AS (SELECT coalesce(max(ev_seqno), 0) AS last FROM _slony.sl_event, own WHERE ev_origin = id AND ev_type <> 'SYNC')
            SELECT bool_and(last <= coalesce((SELECT max(con_seqno) FROM _slony.sl_confirm WHERE con_origin = id AND con_received = no_id), 0))
            FROM _slony.sl_node, own, told WHERE no_id <> id";
        let end = Instant::now() + Duration::from_secs(60);
        for appliance in self.both() {
            let client = appliance.client(database).await;
            while client.query_one(heard, &[]).await.expect("nodes").get::<_, Option<bool>>(0) == Some(false) {
                assert!(Instant::now() < end, "{database} on {}: its events stay unheard", appliance.name);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn shown(&self, appliance: &Appliance) -> String {
        let mut text = format!("{}: its server runs: {}\n", appliance.name, self.runs(appliance));
        for database in DATABASES {
            let _ = writeln!(text, "{database} has a slon: {}", !slons(appliance, database).is_empty());
            if !self.runs(appliance) {
                continue;
            }
            let client = appliance.client(database).await;
            let mut ask = async |what: &str, sql: &str| {
                let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let cells: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0)).collect();
                let _ = writeln!(text, "{database} {what}: {}", cells.join("; "));
            };
            ask("schemas", "SELECT nspname::text FROM pg_namespace WHERE nspname IN ('_slony', 'baton') ORDER BY 1")
                .await;
            ask(
                "triggers",
                "SELECT tgrelid::regclass::text || ' ' || tgname::text || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
                   AND tgrelid::regclass::text IN ('appliance', 'session', 'keyless') ORDER BY 1",
            )
            .await;
            for table in ["appliance", "session", "keyless"] {
                let columns = if table == "session" { "id || ' ' || note" } else { "t::text" };
                let sql = format!(
                    "SELECT count(*) || ' ' || coalesce(md5(string_agg({columns}, ',' ORDER BY {columns})), '-') FROM {table} t"
                );
                ask(table, &sql).await;
            }
            ask("sequence", "SELECT last_value::text FROM session_id_seq").await;
            let slony = client.query_one("SELECT to_regnamespace('_slony') IS NOT NULL", &[]).await.expect("a row");
            if !slony.get::<_, bool>(0) {
                continue;
            }
            let mut ask = async |what: &str, sql: &str| {
                let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let cells: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0)).collect();
                let _ = writeln!(text, "{database} {what}: {}", cells.join("; "));
            };
            ask("local node", "SELECT _slony.getlocalnodeid('_slony')::text").await;
            ask("nodes", "SELECT no_id::text FROM _slony.sl_node ORDER BY 1").await;
            ask("sets", "SELECT set_id || ' of ' || set_origin || ' ' || (set_locked IS NOT NULL) FROM _slony.sl_set ORDER BY 1").await;
            ask("tables", "SELECT tab_relname::text FROM _slony.sl_table ORDER BY 1").await;
            ask(
                "subscriptions",
                "SELECT sub_set || ' from ' || sub_provider || ' to ' || sub_receiver || ' ' || sub_active FROM _slony.sl_subscribe ORDER BY 1",
            )
            .await;
            ask("paths", "SELECT pa_server || ' for ' || pa_client FROM _slony.sl_path ORDER BY 1").await;
        }
        text
    }
}

fn slons(appliance: &Appliance, database: &str) -> Vec<i32> {
    let own = format!("{}dbname={database} ", appliance.own());
    processes(|arguments| {
        arguments.first().is_some_and(|name| name.ends_with("slon"))
            && arguments.iter().any(|one| one.starts_with(&own))
    })
}

async fn run(client: &tokio_postgres::Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

#[async_trait]
impl Outside for Pair {
    async fn picture(&self, _kept: &Path) -> String {
        for database in DATABASES {
            let told = |appliance| self.runs(appliance) && !slons(appliance, database).is_empty();
            if self.both().into_iter().all(told) {
                self.settled(database).await;
            }
        }
        let mut text = String::new();
        for appliance in self.both() {
            text.push_str(&self.shown(appliance).await);
        }
        text
    }

    async fn undo(&self) {
        self.silence();
        for (number, appliance) in self.both().into_iter().enumerate() {
            if self.dead == Some(number) {
                continue;
            }
            if !self.runs(appliance) {
                appliance.start();
            }
            let client = appliance.client("postgres").await;
            for database in DATABASES {
                run(&client, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
                run(&client, &format!("CREATE DATABASE {database} TEMPLATE {database}_beginning")).await;
            }
        }
        self.start_slons();
    }

    async fn spoil(&self) {
        match self.spoilt_by {
            Spoil::Death(number) => self.both()[number].kill(),
            Spoil::Silence => {
                self.silence();
                for database in DATABASES {
                    run(&self.world.a.client(database).await, "INSERT INTO session (note) VALUES ('late')").await;
                }
            }
            Spoil::Schema => {
                self.silence();
                run(&self.world.a.client(DATABASES[0]).await, "DROP SCHEMA _slony CASCADE").await;
            }
        }
    }
}

fn with(mut params: Value) -> Value {
    params["databases"] = json!(DATABASES);
    params
}

async fn databases_are_copied(copy: &'static str) {
    let world = World::start().await;
    for database in DATABASES {
        let sql = "INSERT INTO session (note) SELECT 'note ' || n FROM generate_series(1, 50) n";
        run(&world.a.client(database).await, sql).await;
    }
    let pair = Pair::new(world, [false, false]).await;
    let params = with(json!({ "from": pair.world.a.server(), "to": pair.world.b.server() }));
    go_through(&Agent::new(), &Row::changes(copy, params, Undo::World, &pair)).await;
}

async fn a_cluster_is_made(init: &'static str, drop: &'static str) {
    let pair = Pair::new(World::start().await, [false, false]).await;
    let agent = Agent::new();
    let one = with(json!({ "origin": pair.world.a.server(), "primary": "A" }));
    let none = with(json!({ "server": pair.world.a.server() }));
    go_through(&agent, &Row::changes(init, one.clone(), Undo::Action(drop, none.clone()), &pair)).await;
    agent.prepare(init, &one).await;
    go_through(&agent, &Row::changes(drop, none, Undo::Action(init, one), &pair)).await;
}

/// Of the two, A being the origin.
fn both(world: &World) -> Value {
    with(json!({ "origin": world.a.server(), "subscriber": world.b.server(), "primary": "A" }))
}

async fn a_node_has_slons_and_another_joins(start: &'static str, stop: &'static str, join: &'static str) {
    let world = World::start().await;
    world.changes("slony.init", with(json!({ "origin": world.a.server(), "primary": "A" }))).await;
    // Alone: what slons tell another node does not come back with them.
    let pair = Pair::new(world, [false, false]).await;
    let (agent, a) = (Agent::new(), &pair.world.a);
    let running = with(json!({ "server": a.server(), "scripts": a.scripts() }));
    let ended = with(json!({ "server": a.server(), "arguments_contain": a.own() }));
    go_through(&agent, &Row::changes(start, running.clone(), Undo::Action(stop, ended.clone()), &pair)).await;
    agent.prepare(start, &running).await;
    go_through(&agent, &Row::changes(stop, ended, Undo::Action(start, running), &pair)).await;

    let pair = Pair::new(pair.world, [false, false]).await;
    go_through(&agent, &Row::changes(join, both(&pair.world), Undo::World, &pair)).await;
}

async fn a_node_subscribes(subscribe: &'static str) {
    let world = World::start().await;
    world.changes("slony.init", both(&world)).await;
    let pair = Pair::new(world, [true, true]).await;
    go_through(&Agent::new(), &Row::changes(subscribe, both(&pair.world), Undo::World, &pair)).await;
}

async fn a_set_moves(move_set: &'static str) {
    let pair = Pair::new(World::replicated().await, [true, true]).await;
    let (a, b) = (pair.world.a.server(), pair.world.b.server());
    let there = with(json!({ "old_origin": a, "new_origin": b }));
    let back = with(json!({ "old_origin": b, "new_origin": a }));
    go_through(&Agent::new(), &Row::changes(move_set, there, Undo::Action(move_set, back), &pair)).await;
}

async fn a_set_is_checked(caught_up: &'static str, verify: &'static str, origin: &'static str, state: &'static str) {
    let mut pair = Pair::new(World::replicated().await, [true, true]).await;
    let (a, b) = (pair.world.a.server(), pair.world.b.server());
    let agent = Agent::new();
    let between = with(json!({ "origin": a, "subscriber": b }));
    pair.spoilt_by = Spoil::Silence;
    go_through(&agent, &Row::checks(caught_up, between.clone(), IN_VAIN, &pair)).await;
    go_through(&agent, &Row::checks(verify, between, IN_VAIN, &pair)).await;
    pair.spoilt_by = Spoil::Schema;
    go_through(&agent, &Row::checks(origin, with(json!({ "server": a, "local_id": 1 })), SHORT, &pair)).await;
    pair.spoilt_by = Spoil::Death(0);
    go_through(&agent, &Row::checks(state, with(json!({ "server": a })), SHORT, &pair)).await;
}

async fn an_origin_is_lost(
    evidence: &'static str,
    lost_rows: &'static str,
    advance_sequences: &'static str,
    failover: &'static str,
) {
    let world = World::replicated().await;
    for appliance in [&world.a, &world.b] {
        world.stop_slons(appliance).await;
    }
    let (a, b) = (world.a.server(), world.b.server());
    let of_b = with(json!({ "server": b }));
    let known = world.act(evidence, of_b.clone()).await.expect("evidence").data;
    for database in DATABASES {
        run(&world.a.client(database).await, "INSERT INTO session (note) VALUES ('lost')").await;
    }
    let mut pair = Pair::new(world, [false, false]).await;
    pair.spoilt_by = Spoil::Death(1);
    go_through(&Agent::new(), &Row::checks(evidence, of_b, SHORT, &pair)).await;
    pair.spoilt_by = Spoil::Death(0);
    let lost = with(json!({ "server": a, "evidence": known }));
    go_through(&Agent::new(), &Row::checks(lost_rows, lost, SHORT, &pair)).await;

    pair.dead = Some(0);
    pair.world.a.kill();
    let ahead = with(json!({ "server": b, "by": 1_000_000 }));
    go_through(&Agent::new(), &Row::changes(advance_sequences, ahead, Undo::World, &pair)).await;
    let forced = with(json!({ "failed": a, "backup": b }));
    go_through(&Agent::new(), &Row::changes(failover, forced, Undo::World, &pair)).await;
}
