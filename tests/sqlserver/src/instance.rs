//! One instance's process: its sessions, its clock, its share in the world.
//!
//! Apart from everything that decides. It locks the shared directory, moves the world on, lets a batch take a step, saves, and
//! unlocks; nothing is held over an await. Every loop ends by the shutdown token.

use crate::answer::{Answer, LoggedIn, Login, Message, Request, Server, Spid};
use crate::directory::{Directory, DirectoryError, Living};
use crate::sql::batch::{Batch, Host, Step};
use crate::sql::run::may_enter;
use crate::sql::session::Sessions;
use crate::world::fault::Clients;
use crate::world::{Alive, SqlError, World};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// How often the world moves on without being asked.
const TICK: Duration = Duration::from_millis(50);
/// How long a batch that waits sleeps at most before it looks again.
const LOOK: Duration = Duration::from_millis(20);
/// Steps of a batch in one hold of the lock.
const STEPS_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("the world has no instance {0}")]
    Unknown(String),
    #[error("{0}")]
    Refused(String),
}

pub struct Instance {
    name: String,
    directory: Directory,
    clock: Clock,
    living: Living,
    inner: Mutex<Inner>,
    stopping: CancellationToken,
}

#[derive(Default)]
struct Inner {
    sessions: Sessions,
    cuts: BTreeMap<Spid, CancellationToken>,
    /// The world as it was last read or written, with its bytes.
    last: Option<(Vec<u8>, World)>,
}

/// What one hold of the lock gives.
struct Held<'a> {
    inner: &'a mut Inner,
    world: World,
    alive: Alive,
}

impl Instance {
    /// Begins: its replicas ask what they are, its databases recover.
    pub fn start(
        directory: &Path,
        name: &str,
        clock: Clock,
        stopping: CancellationToken,
    ) -> Result<Arc<Instance>, StartError> {
        let directory = Directory::new(directory);
        let (_, world) = directory.load()?;
        let known = world.server(name).ok_or_else(|| StartError::Unknown(name.to_owned()))?;
        let name = known.name.clone();
        if let Some(reason) = world.no_start.get(&name) {
            return Err(StartError::Refused(reason.clone()));
        }
        let living = directory.live(&name)?;
        let instance =
            Arc::new(Instance { name, directory, clock, living, inner: Mutex::new(Inner::default()), stopping });
        let own = instance.name.clone();
        instance.hold(|held| {
            let now = held.world.clock;
            held.world.start(&own, now);
        })?;
        Ok(instance)
    }

    /// The world's own time goes on until the process stops.
    pub async fn tick(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                _ = interval.tick() => {}
            }
            self.living.beat();
            let mut dark = false;
            let own = self.name.clone();
            let moved =
                self.hold(|held| dark = held.world.clients.get(&own).copied().unwrap_or_default() == Clients::Refused);
            if let Err(error) = moved {
                eprintln!("{}: {error}", self.name);
            }
            if dark {
                self.cut_all();
            }
        }
    }

    /// Where it should listen.
    pub fn address(&self) -> Result<String, StartError> {
        let (_, world) = self.directory.load()?;
        Ok(world.servers[&self.name].address.clone())
    }

    /// Addresses of listeners that belong to this instance, because it is their group's primary, as of the last tick.
    pub fn listener_addresses(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, world)) = &inner.last else { return Vec::new() };
        let leads = |group: &&crate::world::group::Group| {
            group.replicas.get(&self.name).is_some_and(|replica| replica.leads() && !replica.taken_offline)
        };
        world
            .groups
            .values()
            .filter(leads)
            .filter_map(|group| group.listener.as_ref().map(|listener| listener.address.clone()))
            .collect()
    }

    /// Connections must be encrypted.
    pub fn forces_encryption(&self) -> Result<bool, StartError> {
        let (_, world) = self.directory.load()?;
        Ok(world.servers[&self.name].force_encryption)
    }

    /// How clients are met, as of the last tick.
    pub fn clients(&self) -> Clients {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last.as_ref().and_then(|(_, world)| world.clients.get(&self.name).copied()).unwrap_or_default()
    }

    /// The lock, the world moved on to now, and what `act` does to it. Sessions that lost their database are cut.
    fn hold<T>(&self, act: impl FnOnce(&mut Held<'_>) -> T) -> Result<T, DirectoryError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = self.directory.lock()?;
        let (before, mut world) = self.directory.load()?;
        let alive = self.directory.alive(&world, Some(&self.name));
        world.advance((self.clock)(), &alive);
        let mut held = Held { inner: &mut inner, world, alive };
        let given = act(&mut held);
        let Held { world, alive, .. } = held;
        let mut world = world;
        world.advance(world.clock, &alive);
        let after = self.directory.encode(&world)?;
        if after != before {
            self.directory.replace(&after)?;
        }
        drop(locked);
        for spid in inner.sessions.outdated(&world, &self.name) {
            inner.close(spid);
        }
        inner.last = Some((after, world));
        Ok(given)
    }

    fn cut_all(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Spid> = inner.cuts.keys().copied().collect();
        for spid in all {
            inner.close(spid);
        }
    }

    /// Waits while clients get no answer.
    async fn while_silent(&self) {
        while self.clients() == Clients::Silent {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn refuse(&self, login: &Login) -> Result<Option<LoggedIn>, DirectoryError> {
        self.hold(|held| judge_login(&held.world, &self.name, login).err())
    }

    /// Lines of the statement log are JSON, one request each, written before it has any effect.
    fn record(&self, spid: Spid, request: &Request) {
        let (user, application) = {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let session = inner.sessions.all.get(&spid);
            session.map_or_else(Default::default, |one| (one.user.clone(), one.application.clone()))
        };
        let (text, values) = match request {
            Request::Batch(text) => (text.clone(), Vec::new()),
            Request::Procedure { name, parameters } => {
                let texts: Vec<String> = parameters.iter().map(|one| crate::sql::value::write(&one.value)).collect();
                match (name.eq_ignore_ascii_case("sp_executesql"), texts.first()) {
                    (true, Some(statement)) => (statement.clone(), texts[1..].to_vec()),
                    _ => (format!("EXEC {name}"), texts),
                }
            }
        };
        let line = serde_json::json!({
            "at": (self.clock)(), "spid": spid, "login": user, "application": application, "text": text, "values": values,
        });
        if let Err(error) = self.directory.record_statement(&self.name, &format!("{line}\n")) {
            eprintln!("{}: {error}", self.name);
        }
    }
}

impl Inner {
    fn close(&mut self, spid: Spid) {
        if let Some(cut) = self.cuts.get(&spid) {
            cut.cancel();
        }
        self.sessions.all.remove(&spid);
    }
}

/// Who may log in, before the session exists; `Err` is what the client gets instead.
fn judge_login(world: &World, instance: &str, login: &Login) -> Result<String, LoggedIn> {
    let failed = |error: SqlError| Err(LoggedIn::Refused(error.messages(1)));
    let server = &world.servers[instance];
    let account = server.logins.get(&login.user.to_lowercase()).filter(|account| account.password == login.password);
    let Some(account) = account else {
        return failed(SqlError::new(18456, &[&login.user]));
    };
    if account.disabled {
        return failed(SqlError::new(18470, &[&login.user]));
    }
    if server.force_encryption && !login.encrypted {
        return failed(SqlError::new(18456, &[&login.user]));
    }
    let wanted = if login.database.is_empty() { account.default_database.as_str() } else { login.database.as_str() };
    if let Some((host, port)) = routed(world, instance, wanted, login.read_only_intent) {
        return Err(LoggedIn::Routed { host, port });
    }
    Ok(wanted.to_owned())
}

/// Read-only routing: from the primary to the first readable, connected secondary of its list.
fn routed(world: &World, instance: &str, database: &str, read_only_intent: bool) -> Option<(String, u16)> {
    if !read_only_intent {
        return None;
    }
    let hadr = world.database(instance, database)?.hadr.as_ref()?;
    let replica = world.replica(instance, &hadr.group).filter(|replica| replica.leads())?;
    let own = replica.known.members.get(instance)?;
    let target = own.routing_list.iter().find(|name| {
        replica.sessions.get(*name).is_some_and(|session| session.connected)
            && replica.known.members.get(*name).is_some_and(|member| member.secondary_allow > 0)
    })?;
    let member = &replica.known.members[target];
    let url = member.routing_url.clone().unwrap_or_else(|| format!("TCP://{}", world.servers[target].address));
    let (host, port) = url.trim_start_matches("TCP://").trim_start_matches("tcp://").rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn broken(error: &DirectoryError) -> Message {
    Message { class: 20, ..SqlError::unsupported(format_args!("its own state: {error}")).messages(1).remove(0) }
}

#[async_trait::async_trait]
impl Server for Instance {
    fn name(&self) -> &str {
        &self.name
    }

    async fn log_in(&self, login: Login) -> LoggedIn {
        self.while_silent().await;
        match self.refuse(&login) {
            Err(error) => return LoggedIn::Refused(vec![broken(&error)]),
            Ok(Some(other)) => return other,
            Ok(None) => {}
        }
        let entered = self.hold(|held| {
            let Held { inner, world, .. } = held;
            let Ok(database) = judge_login(world, &self.name, &login) else {
                return Err(SqlError::new(18456, &[&login.user]));
            };
            let now = world.clock;
            let account = world.servers[&self.name].logins[&login.user.to_lowercase()].name.clone();
            let spid = inner.sessions.open(&Login { user: account, ..login.clone() }, "master", now);
            let alive = held.alive.clone();
            let host = Host {
                world,
                sessions: &mut inner.sessions,
                alive: &alive,
                instance: &self.name,
                spid,
                cut: Vec::new(),
            };
            match may_enter(&host, &database, &login.user, login.read_only_intent) {
                Ok(database) => {
                    if let Some(session) = inner.sessions.all.get_mut(&spid) {
                        crate::sql::batch::enter(world, &self.name, session, &database);
                    }
                    let cut = CancellationToken::new();
                    inner.cuts.insert(spid, cut.clone());
                    Ok((spid, database, cut))
                }
                Err(_) => {
                    inner.sessions.all.remove(&spid);
                    let refused = SqlError::new(4060, &[&database]).then(SqlError::new(18456, &[&login.user]));
                    Err(refused)
                }
            }
        });
        match entered {
            Err(error) => LoggedIn::Refused(vec![broken(&error)]),
            Ok(Err(refused)) => LoggedIn::Refused(refused.messages(1)),
            Ok(Ok((spid, database, cut))) => {
                let messages = SqlError::new(5701, &[&database]).then(SqlError::new(5703, &[])).messages(1);
                LoggedIn::Welcome { spid, database, messages, cut }
            }
        }
    }

    async fn execute(&self, spid: Spid, request: Request, answers: mpsc::Sender<Answer>, cancelled: CancellationToken) {
        self.while_silent().await;
        self.record(spid, &request);
        let mut batch = Batch::new(&request);
        loop {
            let taken = self.hold(|held| {
                let Held { inner, world, alive } = held;
                if !inner.sessions.all.contains_key(&spid) {
                    return (vec![Answer::Cut], Step::Finished);
                }
                let mut host =
                    Host { world, sessions: &mut inner.sessions, alive, instance: &self.name, spid, cut: Vec::new() };
                let mut step = Step::Again;
                if cancelled.is_cancelled() {
                    batch.cancel(&mut host);
                    step = Step::Finished;
                }
                for _ in 0..STEPS_MAX {
                    if step != Step::Again {
                        break;
                    }
                    step = batch.step(&mut host);
                    // A commit may be acknowledged at once.
                    if matches!(step, Step::Again) {
                        host.world.advance(host.world.clock, host.alive);
                    }
                }
                let cut = std::mem::take(&mut host.cut);
                for spid in cut {
                    inner.close(spid);
                }
                (batch.take_answers(), step)
            });
            let (given, step) = match taken {
                Ok(taken) => taken,
                Err(error) => {
                    let _ = answers.send(Answer::Said(broken(&error))).await;
                    return;
                }
            };
            if step == Step::Die {
                die();
            }
            let mut gone = false;
            for answer in given {
                gone |= answers.send(answer).await.is_err();
            }
            match step {
                Step::Finished => return,
                Step::Again if !gone => {}
                // Who has gone does not wait; what was begun in the world goes on there.
                Step::Again | Step::Wait { .. } if gone || answers.is_closed() => {
                    self.abandon(spid, &mut batch);
                    return;
                }
                Step::Wait { until } => {
                    let left = u64::try_from(until.saturating_sub((self.clock)())).unwrap_or(0);
                    let nap = Duration::from_millis(left.max(1)).min(LOOK);
                    tokio::select! {
                        () = cancelled.cancelled() => {}
                        () = answers.closed() => {}
                        () = tokio::time::sleep(nap) => {}
                    }
                }
                Step::Again | Step::Die => {}
            }
        }
    }

    async fn reset(&self, spid: Spid) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = inner.sessions.all.get_mut(&spid) {
            session.transaction = None;
            session.context.clear();
            session.implicit_transactions = false;
            session.abort_on_error = false;
            session.no_count = false;
        }
    }

    async fn log_out(&self, spid: Spid) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.sessions.all.remove(&spid);
        inner.cuts.remove(&spid);
    }
}

impl Instance {
    fn abandon(&self, spid: Spid, batch: &mut Batch) {
        let ended = self.hold(|held| {
            let Held { inner, world, alive } = held;
            if inner.sessions.all.contains_key(&spid) {
                let mut host =
                    Host { world, sessions: &mut inner.sessions, alive, instance: &self.name, spid, cut: Vec::new() };
                batch.cancel(&mut host);
            }
        });
        if let Err(error) = ended {
            eprintln!("{}: {error}", self.name);
        }
    }
}

/// As SIGKILL does it: nothing is flushed, nobody is told.
fn die() -> ! {
    let me = rustix::process::getpid();
    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    std::process::abort()
}
