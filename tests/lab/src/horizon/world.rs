//! Builds the world, holds what belongs to it, and takes it down.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use rand::RngExt;

use super::{
    Appliance, Database, Endpoint, Error, Network, Organization, Side,
    appliance::{Effect, Service, effects},
    application,
    layout::{self, Setting},
    postgres::{Server, User},
    power::Boot,
    replication::{self, Pair, Relations, Slonik, Tuning},
    schema, verification,
};
use crate::{
    packages::Programs,
    processes::{Keeper, Process, Registry},
};

/// How a world is built.
#[derive(Debug)]
pub struct Options {
    /// Where it lives. User `postgres` must be able to enter it when the lab runs as root.
    pub directory: PathBuf,
    /// Its loopback addresses.
    pub network: Network,
    /// The programs of other people.
    pub programs: Programs,
    /// The `baton-lab` program: the services and the keeper are its hidden subcommands.
    pub helper: PathBuf,
    /// Whether there is a tenant besides the service provider.
    pub tenant: bool,
    /// What runs on each appliance besides its server and its slons.
    pub boot: Boot,
    /// How slon works.
    pub tuning: Tuning,
    /// Thousands of rows in the large tables of each database. Ten make about 5 MB of each.
    pub thousands: u32,
}

impl Options {
    /// A world as in the field: tenant, watchdogs, services, tuned slons.
    pub fn new(directory: PathBuf, network: Network, programs: Programs, helper: PathBuf) -> Self {
        let (tenant, boot, tuning) = (true, Boot::EVERYTHING, Tuning::TUNED);
        Self { directory, network, programs, helper, tenant, boot, tuning, thousands: 10 }
    }
}

/// How long the parts of building took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings(pub Vec<(&'static str, Duration)>);

/// Two or four appliances that replicate. Dropped, it is swept.
#[derive(Debug)]
pub struct World {
    options: Options,
    appliances: Vec<Appliance>,
    user: Option<User>,
    slonik: Slonik,
    passwords: Passwords,
    timings: Timings,
    // The keeper goes after the registry's sweep: it has nothing left to do then.
    registry: Registry,
    _keeper: Keeper,
}

#[derive(Clone)]
struct Passwords {
    superuser: String,
    slony: String,
    desktone: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Passwords")
    }
}

fn password() -> String {
    (0..4).map(|_| format!("{:08x}", rand::rng().random::<u32>())).collect()
}

impl World {
    /// Builds everything and returns when every database replicates, verified.
    /// What a crashed predecessor left in the directory is swept first.
    pub async fn build(options: Options) -> Result<Self, Error> {
        let mut clock = Clock::start();
        layout::create_directory(&options.directory)?;
        let user = User::needed()?;
        if let Some(user) = user {
            user.can_enter(&options.directory)?;
        }
        let (registry, swept) = Registry::begin(&options.directory)?;
        if swept > 0 {
            tracing::warn!(swept, directory = %options.directory.display(), "ended what a crashed lab had left");
        }
        let keeper = Keeper::start(&options.helper, &registry)?;
        let appliances = appliances(&options);
        let passwords = Passwords { superuser: password(), slony: password(), desktone: password() };
        let slonik = Slonik { program: options.programs.slonik.clone(), pgpass: appliances[0].pgpass() };
        let timings = Timings::default();
        let mut world = Self { options, appliances, user, slonik, passwords, timings, registry, _keeper: keeper };
        world.write_roots()?;
        clock.lap("files");
        try_join_all(world.appliances.iter().map(|appliance| world.start_server(appliance))).await?;
        clock.lap("servers");
        try_join_all(world.appliances.iter().map(|appliance| world.fill(appliance))).await?;
        clock.lap("databases");
        let pairs = world.pairs();
        try_join_all(pairs.iter().map(|pair| world.initialize_replication(pair))).await?;
        clock.lap("slony cluster");
        try_join_all(world.appliances.iter().map(|appliance| world.start_slons(appliance))).await?;
        try_join_all(pairs.iter().map(|pair| world.subscribe(pair))).await?;
        clock.lap("subscriptions");
        try_join_all(world.appliances.iter().map(|appliance| world.start_the_rest(appliance))).await?;
        clock.lap("services");
        try_join_all(pairs.iter().map(|pair| world.verify(pair.origin, pair.subscriber, pair.database))).await?;
        clock.lap("verification");
        world.timings = clock.laps;
        Ok(world)
    }

    /// How long the parts of building took.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// All appliances: `sp-a`, `sp-b`, then `ta-a`, `ta-b`.
    pub fn appliances(&self) -> &[Appliance] {
        &self.appliances
    }

    /// The appliance of an organisation's side.
    ///
    /// # Panics
    /// When a tenant's appliance is asked for in a world that was built without one.
    pub fn appliance(&self, organization: Organization, side: Side) -> &Appliance {
        let wanted = |appliance: &&Appliance| appliance.organization == organization && appliance.side == side;
        self.appliances.iter().find(wanted).expect("the world was built with this organisation")
    }

    /// The registry of the world's processes: for a lab that starts more of them, marked by
    /// [`crate::processes::WORLD_VARIABLE`] and [`crate::processes::APPLIANCE_VARIABLE`].
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where the world lives.
    pub fn directory(&self) -> &Path {
        &self.options.directory
    }

    /// What `DB_PASSWORD` must be: the password of the application's role `desktone`.
    pub fn database_password(&self) -> &str {
        &self.passwords.desktone
    }

    /// The password of the superuser `slony`, with which slonik and slon connect.
    pub fn slony_password(&self) -> &str {
        &self.passwords.slony
    }

    /// As a superuser: for judging.
    pub fn superuser(&self, appliance: &Appliance, database: Database) -> Endpoint {
        self.endpoint(appliance, database.name(), "postgres", &self.passwords.superuser)
    }

    /// As the application: for writing.
    pub fn application(&self, appliance: &Appliance, database: Database) -> Endpoint {
        self.endpoint(appliance, database.name(), "desktone", &self.passwords.desktone)
    }

    fn endpoint(&self, appliance: &Appliance, database: &str, user: &str, password: &str) -> Endpoint {
        Endpoint {
            address: appliance.server(),
            database: database.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The database server of an appliance.
    pub fn server(&self, appliance: &Appliance) -> Server {
        Server::new(appliance, &self.options.programs, self.user)
    }

    /// The replicated databases as they were built: A is the origin.
    pub fn pairs(&self) -> Vec<Pair<'_>> {
        let origins = self.appliances.iter().filter(|appliance| appliance.side == Side::A);
        origins
            .flat_map(|origin| {
                let subscriber = self.appliance(origin.organization, Side::B);
                origin.databases().iter().map(move |database| Pair { origin, subscriber, database: *database })
            })
            .collect()
    }

    /// A SYNC on the origin, as built, and the wait until the subscriber has applied it.
    pub async fn catch_up(&self, pair: &Pair<'_>) -> Result<(), Error> {
        self.slonik.run("catch up", &pair.catch_up(), Duration::from_secs(60)).await
    }

    /// Judges whether `origin` replicates a database to `subscriber`: see [`verification`]. Returns the canary's time.
    pub async fn verify(
        &self,
        origin: &Appliance,
        subscriber: &Appliance,
        database: Database,
    ) -> Result<Duration, Error> {
        let (origin, subscriber) = (self.superuser(origin, database), self.superuser(subscriber, database));
        verification::replicates(&origin, &subscriber, Duration::from_secs(30)).await
    }

    /// Runs `service NAME VERB` on an appliance. An error holds the exit code and what it said.
    pub async fn service(&self, appliance: &Appliance, service: Service, verb: &str) -> Result<String, Error> {
        replication::script(&appliance.service_command(), &[service.name(), verb]).await
    }

    /// Waits until a service answers 200, and returns what it says that it writes to.
    pub async fn ready(&self, appliance: &Appliance, service: Service, within: Duration) -> Result<String, Error> {
        let start = Instant::now();
        loop {
            let seen = match application::ask(appliance.health(service)).await {
                Ok((200, body)) => return Ok(body),
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => error.to_string(),
            };
            if start.elapsed() > within {
                let what = format!("{} of {} is ready", service.name(), appliance.name);
                return Err(Error::Never { what, seconds: within.as_secs(), seen });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts the slons of an appliance by its own scripts.
    pub async fn start_slons(&self, appliance: &Appliance) -> Result<(), Error> {
        let scripts = appliance.databases().iter().map(|database| appliance.slon_script(*database));
        try_join_all(scripts.map(|path| async move { replication::script(&path, &[]).await })).await.map(drop)
    }

    /// What was done to an appliance's services and slons, counted by its own scripts.
    pub fn effects(&self, appliance: &Appliance) -> Result<Vec<Effect>, Error> {
        let path = appliance.effects();
        effects(&path).map_err(|source| Error::File { verb: "read", path, source })
    }

    /// Runs a slonik script of the caller's with the world's passwords; see [`Pair::preamble`].
    pub async fn slonik(&self, what: &str, script: &str, within: Duration) -> Result<(), Error> {
        self.slonik.run(what, script, within).await
    }

    /// Every process of the world that runs now.
    pub fn running(&self) -> Result<Vec<Process>, Error> {
        Ok(self.registry.members()?)
    }

    /// Ends everything and says how many processes that were. The files stay.
    pub fn tear_down(self) -> Result<usize, Error> {
        Ok(self.registry.sweep()?)
    }

    fn write_roots(&self) -> Result<(), Error> {
        let options = self.options.tuning.options();
        let psql = self.options.programs.of_postgres("psql");
        for appliance in &self.appliances {
            let setting = Setting {
                helper: &self.options.helper,
                slon: &self.options.programs.slon,
                psql: &psql,
                registry: self.registry.path(),
                mark: self.registry.mark(),
                slon_options: &options,
                database_password: &self.passwords.desktone,
                slony_password: &self.passwords.slony,
            };
            // What an earlier world in this directory left.
            match std::fs::remove_dir_all(&appliance.root) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::File { verb: "remove", path: appliance.root.clone(), source: error });
                }
                _ => layout::write(appliance, &setting)?,
            }
        }
        Ok(())
    }

    async fn start_server(&self, appliance: &Appliance) -> Result<(), Error> {
        let server = self.server(appliance);
        server.initialize(&self.passwords.superuser).await?;
        self.registry.add_data(&appliance.data())?;
        server.start().await
    }

    async fn fill(&self, appliance: &Appliance) -> Result<(), Error> {
        let superuser = self.endpoint(appliance, "postgres", "postgres", &self.passwords.superuser);
        let Passwords { slony, desktone, .. } = &self.passwords;
        let roles = format!(
            "create role slony login superuser password '{slony}'; create role desktone login password '{desktone}'"
        );
        superuser.run("make the roles", &roles).await?;
        let known = schema::known_to(appliance.organization, &self.appliances);
        for database in appliance.databases() {
            superuser.run("make the database", &format!("create database {database} owner desktone")).await?;
            // The schema belongs to the database's owner, as with every PostgreSQL before 15.
            let mut sql = "alter schema public owner to desktone;".to_owned() + &schema::tables(*database);
            if appliance.side == Side::A {
                sql += &schema::rows(*database, &known, self.options.thousands);
            }
            self.superuser(appliance, *database).run("fill the database", &sql).await?;
        }
        Ok(())
    }

    async fn initialize_replication(&self, pair: &Pair<'_>) -> Result<(), Error> {
        let relations = Relations::read(&self.superuser(pair.origin, pair.database)).await?;
        let what = format!("initialise slony on {}", pair.database);
        self.slonik.run(&what, &pair.initialization(&relations), Duration::from_secs(60)).await
    }

    async fn subscribe(&self, pair: &Pair<'_>) -> Result<(), Error> {
        let what = format!("subscribe {}", pair.database);
        self.slonik.run(&what, &pair.subscription(), Duration::from_secs(120)).await
    }

    async fn start_the_rest(&self, appliance: &Appliance) -> Result<(), Error> {
        if self.options.boot.watchdog {
            replication::script(&appliance.watchdog_script(), &[]).await?;
        }
        if self.options.boot.services {
            for service in Service::ALL {
                self.service(appliance, service, "start").await?;
            }
            for service in Service::ALL {
                self.ready(appliance, service, Duration::from_secs(60)).await?;
            }
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The keeper would do it too, but only after this process has let go of everything.
        if let Err(error) = self.registry.sweep() {
            tracing::error!(%error, "could not sweep the world");
        }
    }
}

fn appliances(options: &Options) -> Vec<Appliance> {
    let provider = [(1, 2, "sp", Organization::Provider)];
    let tenant = [(3, 4, "ta", Organization::Tenant)];
    let organizations = provider.into_iter().chain(tenant.into_iter().filter(|_| options.tenant));
    let both = |(a, b, short, organization): (u8, u8, &str, Organization)| {
        let one = |name: &str, side, own, peer| Appliance {
            name: format!("{short}-{name}"),
            organization,
            side,
            address: options.network.address(own),
            database_port: options.network.database_port(),
            peer: options.network.address(peer),
            root: options.directory.join(format!("{short}-{name}")),
        };
        [one("a", Side::A, a, b), one("b", Side::B, b, a)]
    };
    organizations.flat_map(both).collect()
}

/// Measures the parts of building.
struct Clock {
    last: Instant,
    laps: Timings,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now(), laps: Timings::default() }
    }

    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        tracing::info!(part = name, ms = took.as_millis() as u64, "built");
        self.laps.0.push((name, took));
    }
}
