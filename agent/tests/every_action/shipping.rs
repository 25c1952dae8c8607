//! Backups, restores and log shipping against simulated instances of SQL Server, each a process; what is outside is the instances' own truth, and
//! the files. Where no action leads back, instances and files are put back as they were.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use async_trait::async_trait;
use baton_agent::host::sqlserver::Session;
use baton_model::time::Span;
use baton_sqlserver::{control::Control, directory::Directory};
use serde_json::{Value, json};

use super::{
    agent::Agent,
    cycle::go_through,
    instances::{DATABASE, PRIMARY, SECONDARY, World},
    picture::{files_below, until},
    row::{Outside, Row, Undo},
};

rows! {
    side by side;
    backup("mssql.backup");
    restore("mssql.restore");
    kill_connections("mssql.kill_connections");
    copy("mssql.log_shipping.copy");
    apply("mssql.log_shipping.apply");
    recover("mssql.log_shipping.recover");
    shipping_primary("mssql.log_shipping.primary");
    shipping_secondary("mssql.log_shipping.secondary");
    shipping_remove("mssql.log_shipping.remove");
    shipping_state("mssql.log_shipping.state");
}

const SHORT: Span = Span::from_secs(20);
/// What is put back. The agent's own files are not.
const PLACES: [&str; 3] = ["world", "share", "own"];

/// Which statement is the effect: the instance, and what it has in it.
type Counted = Option<(&'static str, &'static str)>;

struct Shipped {
    world: World,
    beginning: tempfile::TempDir,
    counted: Counted,
    /// Of users on the secondary; where there are any, they are what is outside.
    users: Mutex<Vec<Session>>,
}

impl Shipped {
    /// As the world is now, is the beginning.
    fn new(world: World, counted: Counted) -> Self {
        let beginning = tempfile::tempdir().expect("a directory");
        for place in PLACES {
            copy_folder(&world.path(place), &beginning.path().join(place));
        }
        Self { world, beginning, counted, users: Mutex::default() }
    }

    fn params(&self, instance: &str, more: Value) -> Value {
        let mut params = json!({ "connection": self.world.connection(instance), "database": DATABASE });
        for (key, value) in more.as_object().expect("a map") {
            params[key] = value.clone();
        }
        params
    }

    fn truth(&self) -> String {
        let directory = Directory::new(self.world.path("world"));
        let _lock = directory.lock().expect("locked");
        let (_, truth) = directory.load().expect("a world");
        let mut text = String::new();
        for (name, server) in &truth.servers {
            for (database, one) in &server.databases {
                let _ = writeln!(
                    text,
                    "{name} {database}: {:?} standby {:?} read only {} {:?} {:?}",
                    one.state, one.standby, one.read_only, one.access, one.recovery
                );
            }
            for one in &server.msdb.backups {
                let _ = writeln!(text, "{name} backup {} {} {} {}", one.kind, one.database, one.copy_only, one.device);
            }
            for one in &server.msdb.restores {
                let _ = writeln!(text, "{name} restore {} {} {} {}", one.kind, one.database, one.replace, one.recovery);
            }
            for one in &server.msdb.shipped_from {
                let _ = writeln!(
                    text,
                    "{name} ships {} from {} by {} to {:?} for {}",
                    one.database, one.backup_directory, one.backup_share, one.secondaries, one.retention_minutes
                );
            }
            for one in &server.msdb.shipped_to {
                let databases: Vec<_> =
                    one.databases.iter().map(|one| (&one.name, one.standby, one.restore_all)).collect();
                let _ = writeln!(
                    text,
                    "{name} takes {} of {} from {} to {} as {databases:?}",
                    one.primary_database, one.primary_server, one.source_directory, one.destination_directory
                );
            }
            let mut jobs: Vec<_> =
                server.msdb.jobs.iter().map(|job| format!("{name} job {} {}\n", job.name, job.enabled)).collect();
            jobs.sort();
            text.push_str(&jobs.concat());
        }
        text
    }
}

#[async_trait]
impl Outside for Shipped {
    async fn picture(&self, _kept: &Path) -> String {
        let mut text = self.truth();
        // Bytes of what was copied; of what an instance writes, the names.
        text.push_str(&files_below(&self.world.path("share")));
        for name in self.world.files("own") {
            let beside = fs::read(self.world.path("share").join(&name)).ok();
            let same = beside.is_some() && fs::read(self.world.path("own").join(&name)).ok() == beside;
            let _ = writeln!(text, "own/{name}, as on the share: {same}");
        }
        let users = std::mem::take(&mut *self.users.lock().expect("whole"));
        for mut user in users {
            let lives = user.batch("SELECT 1").await.is_ok();
            let _ = writeln!(text, "a user: {}", if lives { "is in" } else { "is out" });
            self.users.lock().expect("whole").push(user);
        }
        text
    }

    fn effects(&self) -> Option<usize> {
        let (instance, what) = self.counted?;
        let received = Control::open(&self.world.path("world")).received(instance);
        Some(received.iter().filter(|one| one.text.contains(what)).count())
    }

    async fn undo(&self) {
        let users = std::mem::take(&mut *self.users.lock().expect("whole")).len();
        for name in [PRIMARY, SECONDARY] {
            self.world.kill(name);
        }
        for place in PLACES {
            fs::remove_dir_all(self.world.path(place)).expect("removed");
            copy_folder(&self.beginning.path().join(place), &self.world.path(place));
        }
        for name in [PRIMARY, SECONDARY] {
            self.world.run(name).await;
        }
        until("no database is recovering", || !self.truth().contains("Recovering")).await;
        for _ in 0..users {
            let user = self.world.session(SECONDARY, DATABASE).await.expect("a session");
            self.users.lock().expect("whole").push(user);
        }
    }

    async fn spoil(&self) {
        self.world.kill(SECONDARY);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy_folder(&entry.path(), &target);
        } else if entry.file_type().expect("a kind").is_file() {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Five log backups on the share; in the secondary's own directory too, where that is wanted.
async fn five(copied: bool) -> World {
    let world = World::shipped().await;
    world.five().await;
    if copied {
        copy_folder(&world.path("share"), &world.path("own"));
    }
    world
}

fn text(world: &World, name: &str) -> String {
    let path: PathBuf = world.path(name);
    path.to_str().expect("text").to_owned()
}

async fn backup(action: &'static str) {
    let shipped = Shipped::new(World::shipped().await, Some((PRIMARY, "BACKUP DATABASE [mgc] TO DISK")));
    let params = shipped.params(PRIMARY, json!({ "path": text(&shipped.world, "share/mine.bak") }));
    // Its bytes hold the time.
    let named = Named(&shipped);
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &named)).await;
}

/// Without the bytes on the share.
struct Named<'a>(&'a Shipped);

#[async_trait]
impl Outside for Named<'_> {
    async fn picture(&self, _kept: &Path) -> String {
        let verified = format!("{:?}\n", self.0.world.files("share"));
        self.0.truth() + &verified
    }
    fn effects(&self) -> Option<usize> {
        self.0.effects()
    }
    async fn undo(&self) {
        self.0.undo().await;
    }
}

async fn restore(action: &'static str) {
    let world = World::start().await;
    world.sql(PRIMARY, &[&format!("CREATE DATABASE [{DATABASE}]")]).await;
    world.write(PRIMARY, "CREATE TABLE note (id int, text nvarchar(100))").await;
    let full = text(&world, "own/full.bak");
    world.sql(PRIMARY, &[&format!("BACKUP DATABASE [{DATABASE}] TO DISK = N'{full}'")]).await;
    let mut paths = vec![full];
    for number in 1..=3u32 {
        let file = format!("{}.trn", 9 - number);
        world.log_backup(number, "own", &file).await;
        paths.insert(0, text(&world, &format!("own/{file}")));
    }
    let shipped = Shipped::new(world, Some((SECONDARY, "RESTORE DATABASE [mgc] FROM")));
    let params = shipped.params(SECONDARY, json!({ "paths": paths, "then": "recovery" }));
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &shipped)).await;
}

async fn kill_connections(action: &'static str) {
    let world = World::shipped().await;
    world.act(&*world.recover()).await.expect("online");
    let shipped = Shipped::new(world, None);
    for _ in 0..2 {
        let user = shipped.world.session(SECONDARY, DATABASE).await.expect("a session");
        shipped.users.lock().expect("whole").push(user);
    }
    let params = shipped.params(SECONDARY, json!({}));
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &shipped)).await;
}

async fn copy(action: &'static str) {
    let shipped = Shipped::new(five(false).await, None);
    let more = json!({ "source": text(&shipped.world, "share"), "destination": text(&shipped.world, "own") });
    let params = shipped.params(SECONDARY, more);
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &shipped)).await;
}

async fn apply(action: &'static str) {
    let shipped = Shipped::new(five(true).await, Some((SECONDARY, "/a.trn' WITH")));
    let params = shipped.params(SECONDARY, json!({ "directory": text(&shipped.world, "own") }));
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &shipped)).await;
}

async fn recover(action: &'static str) {
    let shipped = Shipped::new(five(false).await, Some((SECONDARY, "WITH RECOVERY")));
    let params = shipped.params(SECONDARY, json!({}));
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &shipped)).await;
}

fn primary(shipped: &Shipped) -> Value {
    let share = text(&shipped.world, "share");
    let more =
        json!({ "backup_directory": share, "backup_share": share, "every": "1h", "secondary_server": SECONDARY });
    shipped.params(PRIMARY, more)
}

fn secondary(shipped: &Shipped) -> Value {
    let more = json!({
        "primary_server": PRIMARY, "primary_database": DATABASE, "source": text(&shipped.world, "share"),
        "destination": text(&shipped.world, "own"), "every": "1h",
    });
    shipped.params(SECONDARY, more)
}

async fn shipping_primary(action: &'static str) {
    let shipped = Shipped::new(World::shipped().await, Some((PRIMARY, "sp_add_log_shipping_primary_database")));
    let params = primary(&shipped);
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &shipped)).await;
}

async fn shipping_secondary(action: &'static str) {
    let shipped = Shipped::new(World::shipped().await, Some((SECONDARY, "sp_add_log_shipping_secondary_database")));
    let undo = Undo::Action("mssql.log_shipping.remove", shipped.params(SECONDARY, json!({})));
    go_through(&Agent::new(), &Row::changes(action, secondary(&shipped), undo, &shipped)).await;
}

async fn shipping_remove(action: &'static str) {
    let world = World::shipped().await;
    let setting = Shipped::new(world, None);
    let set_up = setting.world.action("mssql.log_shipping.secondary", SECONDARY, secondary(&setting));
    setting.world.changes(&*set_up).await;
    let shipped = Shipped::new(setting.world, Some((SECONDARY, "sp_delete_log_shipping_secondary_database")));
    let undo = Undo::Action("mssql.log_shipping.secondary", secondary(&shipped));
    let params = shipped.params(SECONDARY, json!({}));
    go_through(&Agent::new(), &Row::changes(action, params, undo, &shipped)).await;
}

async fn shipping_state(action: &'static str) {
    let shipped = Shipped::new(World::shipped().await, None);
    let params = shipped.params(SECONDARY, json!({}));
    go_through(&Agent::new(), &Row::checks(action, params, SHORT, &shipped)).await;
}
