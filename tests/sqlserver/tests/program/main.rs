//! The program as labs start it: one process an instance, over one directory.
//!
//! Apart from the protocol's tests, behind which a toy stands: here everything is real, and processes are killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use baton_sqlserver::control::{Control, GroupPlan, Instance, ReplicaPlan, WorldBuilder};
use baton_sqlserver::instance::system_clock;
use baton_sqlserver::world::fault::Clients;
use baton_sqlserver::world::group::{ClusterType, Listener};
use baton_sqlserver::world::server::Account;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[path = "../clients/authority.rs"]
mod authority;
#[path = "../clients/clients.rs"]
mod clients;

use clients::{ALL, Answer, Client, Failure, Target, run};

const PASSWORD: &str = "Simulated-1";
const DEADLINE: Duration = Duration::from_secs(30);

/// Addresses of this test alone, on the port that everybody knows.
fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    let bytes = [127, 64 + (process / 250 % 128) as u8, (process % 250) as u8, NEXT.fetch_add(1, Ordering::SeqCst)];
    (bytes, 1433).into()
}

/// A process, which does not outlive its test.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn command(directory: &Path, instance: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton-sqlserver"));
        command.arg("--directory").arg(directory).args(["--instance", instance]).stdout(Stdio::piped());
        command
    }

    fn start(directory: &Path, instance: &str) -> Self {
        Self::spawn(instance, &mut Self::command(directory, instance))
    }

    fn spawn(instance: &str, command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("{instance} said {line:?}"));
        Self { address: address.parse().unwrap(), child }
    }

    fn target(&self) -> Target {
        Target::new(self.address, "sa", PASSWORD)
    }

    fn signal(&mut self, signal: Signal) -> std::process::ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct World {
    directory: tempfile::TempDir,
    control: Control,
}

impl World {
    fn create(builder: &WorldBuilder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = builder.create(&directory.path().join("world"), system_clock()()).unwrap();
        Self { directory, control }
    }

    fn start(&self, instance: &str) -> Process {
        Process::start(&self.directory.path().join("world"), instance)
    }
}

async fn ask(client: Client, target: &Target, sql: &str) -> Result<Answer, Failure> {
    run(client, target, [sql]).await?.remove(0)
}

/// Asks until the answer is this; the last one is shown otherwise.
async fn until(target: &Target, sql: &str, expected: &str) {
    let begin = Instant::now();
    loop {
        // Nothing may listen yet, which is no failure of a client.
        let listens = tokio::net::TcpStream::connect(target.address).await.is_ok();
        let answer = if listens { Some(ask(Client::Tiberius, target, sql).await) } else { None };
        if let Some(Ok(answer)) = &answer
            && answer.value() == &json!(expected)
        {
            return;
        }
        assert!(begin.elapsed() < DEADLINE, "{sql} at {} is not {expected} but {answer:?}", target.address);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_instance_serves_every_client_ends_with_sigterm_and_begins_again() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    for _ in 0..2 {
        let mut process = world.start("S1");
        for client in ALL {
            let answer = ask(client, &process.target(), "SELECT @@SERVERNAME").await;
            assert_eq!(answer.unwrap().value(), &json!("S1"), "{client:?}");
            let unknown = ask(client, &process.target(), "FROBNICATE THE SERVER").await.unwrap_err();
            assert_ne!(unknown.numbers(), [0], "{client:?}: {unknown:?}");
        }
        let status = process.signal(Signal::TERM);
        assert!(status.success(), "{status}");
        assert!(tokio::net::TcpStream::connect(process.address).await.is_err());
    }
}

#[tokio::test]
async fn clients_work_with_their_own_settings() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let process = world.start("S1");
    for client in ALL {
        let target = process.target().defaults();
        let answers = run(client, &target, ["SELECT @@SERVERNAME", "SELECT 1"]).await.unwrap();
        assert_eq!(answers[0].as_ref().unwrap().value(), &json!("S1"), "{client:?}");
        assert_eq!(answers[1].as_ref().unwrap().value(), &json!(1), "{client:?}");
    }
}

#[tokio::test]
async fn an_instance_can_run_once() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let mut first = world.start("S1");
    let second = Process::command(&world.directory.path().join("world"), "S1").stderr(Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("S1"), "{second:?}");
    // Killed, it leaves nothing behind that would keep the next one from beginning.
    first.signal(Signal::KILL);
    let again = world.start("S1");
    ask(Client::Tiberius, &again.target(), "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_world_that_forces_encryption_is_served_encrypted_only() {
    let instance = Instance {
        name: "S1".into(),
        address: address().to_string(),
        force_encryption: true,
        logins: vec![Account::administrator("sa", PASSWORD)],
        ..Instance::default()
    };
    let world = World::create(&WorldBuilder::new().instance_with(instance));
    let process = world.start("S1");
    // Without TLS, and this client says so.
    assert!(ask(Client::PyTds, &process.target(), "SELECT 1").await.is_err());
    // FreeTDS encrypts where it must.
    ask(Client::PyMsSql, &process.target(), "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn an_instance_shows_the_certificate_that_it_was_given() {
    let authority = authority::Authority::new();
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let mut command = Process::command(&world.directory.path().join("world"), "S1");
    command.args(["--listen", "127.0.0.1:0", "--encryption", "forced"]);
    command.arg("--certificate").arg(authority.server_chain.path()).arg("--key").arg(authority.server_key.path());
    let process = Process::spawn("S1", &mut command);
    for client in ALL {
        let target = process.target().authority(authority.certificate.path());
        let answer = ask(client, &target, "SELECT @@SERVERNAME").await;
        assert_eq!(answer.unwrap().value(), &json!("S1"), "{client:?}");
    }
    assert!(ask(Client::Tiberius, &process.target(), "SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_listener_answers_from_the_primary_and_moves_with_it() {
    let (first, second, listener) = (address(), address(), address());
    let builder = WorldBuilder::new()
        .instance("S1", &first.to_string(), PASSWORD)
        .instance("S2", &second.to_string(), PASSWORD)
        .group(GroupPlan {
            name: "ag1".into(),
            cluster: ClusterType::Wsfc,
            databases: vec!["db1".into()],
            replicas: vec![ReplicaPlan::synchronous("S1"), ReplicaPlan::synchronous("S2")],
            listener: Some(Listener { name: "ag1-listener".into(), address: listener.to_string() }),
            required_synchronized: 0,
        });
    let world = World::create(&builder);
    let (_one, two) = (world.start("S1"), world.start("S2"));
    let listening = Target::new(listener, "sa", PASSWORD);
    until(&listening, "SELECT @@SERVERNAME", "S1").await;
    let synchronized = "SELECT synchronization_state_desc FROM sys.dm_hadr_database_replica_states WHERE is_local = 1";
    until(&two.target(), synchronized, "SYNCHRONIZED").await;
    ask(Client::Tiberius, &two.target(), "ALTER AVAILABILITY GROUP [ag1] FAILOVER").await.unwrap();
    until(&listening, "SELECT @@SERVERNAME", "S2").await;
}

#[tokio::test]
async fn clients_are_met_as_the_world_says() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let process = world.start("S1");
    let target = process.target();
    until(&target, "SELECT @@SERVERNAME", "S1").await;
    for clients in [Clients::Refused, Clients::Silent] {
        world.control.set_clients("S1", clients).unwrap();
        let begin = Instant::now();
        // An open connection, and what comes over it: the end, or nothing for a moment.
        loop {
            assert!(begin.elapsed() < DEADLINE, "{clients:?}");
            let mut socket = std::net::TcpStream::connect(process.address).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            std::io::Write::write_all(&mut socket, &[0x12, 1, 0, 26, 0, 0, 1, 0]).unwrap();
            let prelogin = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 16, 0, 0, 0, 0, 0, 2];
            let written = std::io::Write::write_all(&mut socket, &prelogin);
            let read = written.and_then(|()| socket.read(&mut [0; 64]));
            let met = match read {
                Ok(0) => Clients::Refused,
                Ok(_) => Clients::Served,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Clients::Silent,
                Err(_) => Clients::Refused,
            };
            if met == clients {
                break;
            }
        }
        world.control.heal().unwrap();
        until(&target, "SELECT @@SERVERNAME", "S1").await;
    }
}

#[tokio::test]
async fn a_session_is_killed_from_another() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let process = world.start("S1");
    for client in ALL {
        let target = process.target();
        let waits = run(client, &target, ["WAITFOR DELAY '00:05:00'", "SELECT 1"]);
        let kills = async {
            let others =
                "SELECT session_id FROM sys.dm_exec_requests WHERE session_id <> @@SPID AND command = 'WAITFOR'";
            let begin = Instant::now();
            loop {
                let answer = ask(Client::Tiberius, &target, others).await.unwrap();
                if let [row] = answer.sets[0].rows.as_slice() {
                    return ask(Client::Tiberius, &target, &format!("KILL {}", row[0])).await;
                }
                assert!(begin.elapsed() < DEADLINE, "{client:?} does not wait: {answer:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (answers, killed) = tokio::join!(waits, kills);
        killed.unwrap();
        let failure = answers.unwrap().remove(0).unwrap_err();
        assert_eq!(failure.numbers(), [596], "{client:?}: {failure:?}");
    }
}

#[tokio::test]
async fn a_statement_that_takes_its_time_can_be_cancelled() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let process = world.start("S1");
    let target = process.target().patience_s(2);
    let answers = run(Client::PyTds, &target, ["WAITFOR DELAY '00:05:00'", "SELECT 1"]).await.unwrap();
    assert!(answers[0].is_err());
    assert_eq!(answers[1].as_ref().unwrap().value(), &json!(1));
}

#[tokio::test]
async fn a_login_is_refused_in_the_servers_words() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let process = world.start("S1");
    for client in ALL {
        let failure = run(client, &process.target().database("nodb"), ["SELECT 1"]).await.unwrap_err();
        let expected = match client {
            // Its exception has the last error of a login only.
            Client::PyTds => vec![18456],
            _ => client.shown(&[(4060, 11), (18456, 14)]),
        };
        assert_eq!(failure.numbers(), expected, "{client:?}: {failure:?}");
        let wrong = Target::new(process.address, "sa", "wrong");
        let failure = run(client, &wrong, ["SELECT 1"]).await.unwrap_err();
        assert_eq!((failure.numbers(), failure.errors[0].class), (vec![18456], 14), "{client:?}: {failure:?}");
        assert_eq!(failure.errors[0].message, "Login failed for user 'sa'.", "{client:?}");
    }
}

#[tokio::test]
async fn parameters_reach_the_engine() {
    let world = World::create(&WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD));
    let process = world.start("S1");
    let values = vec![json!(7), json!("größer"), json!(true)];
    for (client, sql) in [
        (Client::Tiberius, "SELECT @P1, @P2, @P3"),
        (Client::PyTds, "SELECT %s, %s, %s"),
        (Client::PyMsSql, "SELECT %s, %s, %s"),
    ] {
        let statement = clients::Statement::Parameters(sql.into(), values.clone());
        let answers = run(client, &process.target(), [statement]).await.unwrap();
        let row = &answers[0].as_ref().unwrap().sets[0].rows[0];
        // pymssql writes a number where others send a bit.
        let bit = if client == Client::PyMsSql { json!(1) } else { json!(true) };
        assert_eq!(row, &vec![values[0].clone(), values[1].clone(), bit], "{client:?}");
    }
}

#[test]
fn a_world_can_be_made_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let (file, world) = (directory.path().join("world.json"), directory.path().join("world"));
    let builder = WorldBuilder::new().instance("S1", &address().to_string(), PASSWORD);
    std::fs::write(&file, serde_json::to_string(&builder).unwrap()).unwrap();
    let make = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton-sqlserver"));
        command.arg("--directory").arg(&world).arg("--create").arg(&file).stderr(Stdio::null()).status().unwrap()
    };
    assert!(make().success());
    assert!(Control::open(&world).world().unwrap().server("S1").is_some());
    // Not over one that is there.
    assert!(!make().success());
}
