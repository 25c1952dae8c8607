//! The same with real agents and instances of SQL Server that write and die: the figures of the bill are the server's own.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use baton_lab::cluster::AgentSetting;
use baton_model::bill::{Bill, Loss};
use baton_sqlserver::control::{Control, GroupPlan, ReplicaPlan, WorldBuilder};
use baton_sqlserver::instance::system_clock;
use baton_sqlserver::world::group::ClusterType;
use baton_system_tests::{World, eventually};
use serde_json::Value;

const PASSWORD: &str = "Simulated-1";

/// An instance's process, which does not outlive its test.
struct Instance(Child);

impl Instance {
    fn start(directory: &Path, name: &str) -> Self {
        let here = std::env::current_exe().expect("this program");
        let program = here.parent().and_then(Path::parent).expect("a target directory").join("baton-sqlserver");
        let mut command = Command::new(&program);
        command.arg("--directory").arg(directory).args(["--instance", name]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it speaks");
        assert!(line.starts_with("ready "), "{name} said {line:?}");
        Self(child)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

fn servers(directory: &Path, addresses: &[String; 2]) -> Control {
    let group = GroupPlan {
        name: "SHOP_AG".to_owned(),
        cluster: ClusterType::None,
        databases: vec!["orders".to_owned(), "stock".to_owned()],
        replicas: vec![ReplicaPlan::asynchronous("SQL1"), ReplicaPlan::asynchronous("SQL2")],
        listener: None,
        required_synchronized: 0,
    };
    let builder =
        WorldBuilder::new().instance("SQL1", &addresses[0], PASSWORD).instance("SQL2", &addresses[1], PASSWORD);
    builder.group(group).create(directory, system_clock()()).expect("a world")
}

fn group(addresses: &[String; 2]) -> String {
    let connection = |name: &str, address: &str| {
        let (host, port) = address.split_once(':').expect("host:port");
        format!(
            "  {name}: {{ kind: sqlserver, host: {host}, port: {port}, database: master, user: sa, \
             password: \"${{secret('sa')}}\", tls: trust, server_name: {} }}\n",
            name.to_uppercase()
        )
    };
    format!(
        "group: shop\nprimary: a\n\
         members:\n  a: {{ hosts: {{ database: db1 }} }}\n  b: {{ hosts: {{ database: db2 }} }}\n\
         hosts:\n  db1: {{ address: 127.0.0.1, vars: {{ connection: sql1 }} }}\n  db2: {{ address: 127.0.0.1, vars: {{ connection: sql2 }} }}\n\
         connections:\n{}{}\
         samples:\n  ag: {{ on: database, every: 1s, action: {{ mssql.ag.sample: {{ group: SHOP_AG, connection: \"${{host.vars.connection}}\" }} }} }}\n\
         runbooks: {{ failover: failover.yaml }}\n",
        connection("sql1", &addresses[0]),
        connection("sql2", &addresses[1]),
    )
}

const FAILOVER: &str = "runbook: failover
kind: forced
steps:
  - name: Force it
    on: new.database
    mssql.ag.force_failover: { group: SHOP_AG, connection: \"${host.vars.connection}\", accept_data_loss: \"${accepted_data_loss}\" }
  - role.transfer: {}
";

fn bill(world: &World) -> Bill {
    let view: Value = world.json(&["plan", "shop", "failover", "--to", "b"]);
    serde_json::from_value(view["bill"].clone()).unwrap_or_else(|error| panic!("{error}: {view}"))
}

#[test]
fn the_bill_of_a_dead_primary_is_what_its_server_said_last() {
    let mut world = World::start(&[]);
    let directory = world.root().join("sqlserver");
    let addresses = [free_address(), free_address()];
    let control = servers(&directory, &addresses);
    let primary = Instance::start(&directory, "SQL1");
    let _target = Instance::start(&directory, "SQL2");
    let setting = AgentSetting {
        policy: "databases = ['**']\nsecrets = ['*']\n".to_owned(),
        secrets: [("sa".to_owned(), PASSWORD.to_owned())].into(),
        ..AgentSetting::default()
    };
    for host in ["db1", "db2"] {
        world.cluster.add_agent(&world.registry, host, &setting).expect("an agent");
    }
    world.ready(&["db1", "db2"]);
    world.write("shop.yaml", &group(&addresses));
    world.write("failover.yaml", FAILOVER);
    world.apply("shop");
    control.set_load("orders", 20).expect("a load");

    // While both live, every figure is known, and the target is close behind.
    let alive = eventually("a bill with figures", || {
        let bill = bill(&world);
        let known = |one: &baton_model::bill::DatabaseBill| {
            one.old.log.value().is_some()
                && one.target.log.value().is_some()
                && one.target.last_commit.value().is_some()
        };
        if bill.databases.len() == 2 && bill.databases.iter().all(known) { Ok(bill) } else { Err(format!("{bill:?}")) }
    });
    let orders = |bill: &Bill| bill.databases.iter().find(|one| one.name == "orders").cloned().expect("orders");
    assert_eq!(orders(&alive).old.who().as_deref(), Some("SQL1"));
    assert_eq!(orders(&alive).target.who().as_deref(), Some("SQL2"));

    // The link breaks first, and the primary goes on: what it writes now, nobody else has.
    control.cut_link("SQL1", "SQL2").expect("cut");
    eventually("the target falls behind by seconds", || {
        let bill = bill(&world);
        match orders(&bill).loss {
            Loss::AtMost { commits, .. } if commits.0 >= 2000 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let last = orders(&bill(&world));
    drop(primary);
    world.cluster.kill_agent("db1");
    let dead = bill(&world);
    let orders_now = orders(&dead);
    assert!(orders_now.old.log.value() >= last.old.log.value(), "{orders_now:?} after {last:?}");
    assert!(orders_now.old.log.value() > orders_now.target.log.value(), "{orders_now:?}");
    assert!(matches!(orders_now.loss, Loss::AtMost { commits, .. } if commits.0 >= 2000), "{orders_now:?}");
    assert_eq!(dead.databases[0].name, "orders", "the one that was written to is the worst: {dead:?}");

    let failover = ["failover", "shop", "--to", "b", "--yes"];
    world.baton(&failover).is_refused("BTN-0170", &["orders: at most "]);
    assert_eq!(control.primaries("SHOP_AG").expect("the truth"), Vec::<String>::new(), "nothing was forced");
    let done = world.baton(&[&failover[..], &["--accept-data-loss=shop"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(control.primaries("SHOP_AG").expect("the truth"), ["SQL2"]);
    assert_eq!(world.show("shop-1")["accepted_loss"]["typed"], "shop");
}
