//! `cargo lab`: builds a world, tells its story, and says whether it was true. Hidden subcommands are the small programs
//! that a world is made of.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use baton_lab::{
    cluster::{AgentSetting, Binaries, Cluster},
    data_mover, genesys, horizon,
    installation::{Installation, Size},
    packages, persistent_chat, pom,
    processes::Registry,
    sqlserver,
    story::{self, Show, Teller},
};
use clap::{Parser, Subcommand};

/// A whole world on one machine, with real servers, in which Baton is shown and tried.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab")]
struct Arguments {
    #[command(subcommand)]
    lab: Option<Lab>,
}

#[derive(Debug, Subcommand)]
enum Lab {
    /// Avaya POM: its SQL Server database moves to the other server of the data centre, and home. Needs nothing but Rust.
    AvayaPom(PomOptions),
    /// VMware Horizon DaaS: Slony-I on PostgreSQL; failover, promotion, return, and a planned way home.
    HorizonDaas(Options),
    /// Genesys Framework: two sites, an asynchronous availability group; failover by force, switch back, reseed.
    GenesysFramework(Simple),
    /// Lync / Skype Persistent Chat: log shipping between data centres, forwards and back. Needs nothing but Rust.
    PersistentChat(PomOptions),
    /// Teradata Data Mover: automatic failover between primary and secondary servers, and the way back.
    TeradataDataMover(Simple),
    /// An empty cluster with agents, for one's own group files. Stays up until Ctrl-C.
    Bare {
        /// How many agents: h1, h2, …
        #[arg(long, default_value_t = 3)]
        agents: u16,
        /// A folder for everything; a temporary one without it.
        #[arg(long)]
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Print the record as one JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Leave the world up after the story, until Ctrl-C, and say how "baton" in another shell talks to it.
    #[arg(long)]
    keep: bool,
    /// A folder for everything; a temporary one without it.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Thousands of rows in the large tables of each database.
    #[arg(long, default_value_t = 10)]
    thousands: u32,
}

#[derive(Debug, clap::Args)]
struct PomOptions {
    /// Print the record as one JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Leave the world up after the story, until Ctrl-C, and say how "baton" in another shell talks to it.
    #[arg(long)]
    keep: bool,
    /// A folder for everything; a temporary one without it.
    #[arg(long)]
    directory: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Simple {
    /// Print the record as one JSON document on stdout.
    #[arg(long)]
    json: bool,
    /// Leave the world up after the story, until Ctrl-C, and say how "baton" in another shell talks to it.
    #[arg(long)]
    keep: bool,
    /// A folder for everything; a temporary one without it.
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = horizon::program(&arguments) {
        return ended;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime needs threads, and this machine has some");
    let result = match Arguments::parse().lab {
        None => {
            println!(
                "Labs:\n  avaya-pom      Avaya POM: SQL Server AlwaysOn in one data centre, forwards and back; needs nothing but Rust\n  horizon-daas   VMware Horizon DaaS: Slony-I on PostgreSQL, forwards and back\n  genesys-framework   Genesys Framework: two sites, SQL Server simulated; by force, and back\n  persistent-chat   Lync / Skype Persistent Chat: log shipping between data centres; needs nothing but Rust\n  teradata-data-mover   Teradata Data Mover: real PostgreSQL as repositories; automatic failover, and back\n  bare           an empty cluster with agents, for your own group files\n\nRun one with \"cargo lab NAME\"; \"cargo lab NAME --help\" tells its options."
            );
            return ExitCode::SUCCESS;
        }
        Some(Lab::AvayaPom(options)) => runtime.block_on(avaya_pom(&options)),
        Some(Lab::PersistentChat(options)) => runtime.block_on(persistent_chat(&options)),
        Some(Lab::HorizonDaas(options)) => runtime.block_on(horizon_daas(&options)),
        Some(Lab::GenesysFramework(options)) => runtime.block_on(genesys_framework(&options)),
        Some(Lab::TeradataDataMover(options)) => runtime.block_on(teradata_data_mover(&options)),
        Some(Lab::Bare { agents, directory }) => runtime.block_on(bare(agents, directory)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The lab's folder: user postgres must be able to enter it.
struct Folder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn make(wanted: Option<&Path>) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o755);
        if let Some(path) = wanted {
            std::fs::create_dir_all(path)?;
            return Ok(Self { path: std::path::absolute(path)?, _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("baton-lab-").permissions(open).tempdir()?;
        Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) })
    }
}

/// The programs as a user installs them, built if need be.
fn binaries() -> Result<Binaries> {
    if std::env::var_os("CARGO").is_some() {
        eprintln!("building the programs");
    }
    Binaries::build(&std::env::current_exe().context("find this program")?)?;
    Binaries::beside_this()
}

async fn avaya_pom(options: &PomOptions) -> Result<bool> {
    // Before the build, which may put a new file in this program's place: then the system calls the old one deleted.
    let helper = std::env::current_exe()?;
    let binaries = binaries()?;
    let folder = Folder::make(options.directory.as_deref())?;
    let mut teller = Teller::new("avaya-pom");
    teller.chapter("Building the world");
    // Half as long as on a small real one: it is watched by a person.
    let timing = sqlserver::world::Options {
        failover_resolving_ms: 900,
        failover_recovering_ms: 900,
        ..sqlserver::world::Options::default()
    };
    let setting = pom::Setting { timing, warm_up_ms: 250, ..pom::Setting::default() };
    let told = async {
        let mut world =
            pom::Pom::build(&folder.path, helper, binaries, &setting, |line| eprintln!("          {line}")).await?;
        let show = if options.json { Show::Quiet } else { Show::Brief };
        if let Err(error) = story::pom::tell(&mut world, &mut teller, show).await {
            teller.check("the story was told to the end", false, format!("{error:#}"));
        }
        anyhow::Ok(world)
    };
    // Ctrl-C must not leave the world behind.
    let world = tokio::select! {
        told = told => told?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; the world is taken down"),
    };
    let held = told_to_the_end(&mut teller, options.json)?;
    if options.keep {
        keep(&world.cluster).await?;
    }
    Ok(held)
}

/// Prints what came of a story. Whether every check held.
fn told_to_the_end(teller: &mut Teller, json: bool) -> Result<bool> {
    let held = teller.finish();
    if json {
        println!("{}", serde_json::to_string_pretty(&teller.record)?);
    } else {
        println!("{}", teller.record.table());
    }
    Ok(held)
}

async fn persistent_chat(options: &PomOptions) -> Result<bool> {
    // Before the build, which may put a new file in this program's place: then the system calls the old one deleted.
    let helper = std::env::current_exe()?;
    let binaries = binaries()?;
    let folder = Folder::make(options.directory.as_deref())?;
    let mut teller = Teller::new("persistent-chat");
    teller.chapter("Building the world");
    let told = async {
        let say = |line: &str| eprintln!("          {line}");
        let mut chat = persistent_chat::Installation::build(&folder.path, helper, binaries, true, say).await?;
        let show = if options.json { Show::Quiet } else { Show::Brief };
        if let Err(error) = story::persistent_chat::tell(&mut chat, &mut teller, show).await {
            teller.check("the story was told to the end", false, format!("{error:#}"));
        }
        anyhow::Ok(chat)
    };
    // Ctrl-C must not leave the world behind.
    let chat = tokio::select! {
        told = told => told?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; the world is taken down"),
    };
    let held = told_to_the_end(&mut teller, options.json)?;
    if options.keep {
        keep(&chat.cluster).await?;
    }
    Ok(held)
}

async fn horizon_daas(options: &Options) -> Result<bool> {
    // Before the build, which may put a new file in this program's place: then the system calls the old one deleted.
    let helper = std::env::current_exe()?;
    let binaries = binaries()?;
    let programs = packages::ensure(&packages::HORIZON, |line| eprintln!("{line}")).await?;
    let folder = Folder::make(options.directory.as_deref())?;
    let mut teller = Teller::new("horizon-daas");
    teller.chapter("Building the world");
    let size = Size { tenant: true, thousands: options.thousands };
    let mut installation =
        Installation::build(&folder.path, programs, helper, binaries, size, |line| eprintln!("          {line}"))
            .await?;
    let show = if options.json { Show::Quiet } else { Show::Live };
    // Ctrl-C must not leave the world behind.
    let told = tokio::select! {
        told = story::horizon::tell(&mut installation, &mut teller, show) => told,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; the world is taken down"),
    };
    if let Err(error) = &told {
        teller.check("the story was told to the end", false, format!("{error:#}"));
    }
    let held = told_to_the_end(&mut teller, options.json)?;
    if options.keep {
        keep(&installation.cluster).await?;
    }
    Ok(held)
}

async fn genesys_framework(options: &Simple) -> Result<bool> {
    let helper = std::env::current_exe()?;
    let binaries = binaries()?;
    let folder = Folder::make(options.directory.as_deref())?;
    let mut teller = Teller::new("genesys-framework");
    teller.chapter("Building the world");
    let say = |line: &str| eprintln!("          {line}");
    let mut lab = genesys::Installation::build(&folder.path, helper, binaries, genesys::Pace::Story, say).await?;
    let show = if options.json { Show::Quiet } else { Show::Live };
    let told = tokio::select! {
        told = story::genesys::tell(&mut lab, &mut teller, show) => told,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; the world is taken down"),
    };
    if let Err(error) = &told {
        teller.check("the story was told to the end", false, format!("{error:#}"));
    }
    let held = teller.finish();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&teller.record)?);
    } else {
        println!("{}", teller.record.table());
    }
    if options.keep {
        keep(&lab.cluster).await?;
    }
    Ok(held)
}

async fn teradata_data_mover(options: &Simple) -> Result<bool> {
    // Before the build, which may put a new file in this program's place: then the system calls the old one deleted.
    let helper = std::env::current_exe()?;
    let binaries = binaries()?;
    let programs = packages::ensure(&packages::DATA_MOVER, |line| eprintln!("{line}")).await?;
    let folder = Folder::make(options.directory.as_deref())?;
    let mut teller = Teller::new("teradata-data-mover");
    teller.chapter("Building the world");
    let told = async {
        let say = |line: &str| eprintln!("          {line}");
        let mut lab = data_mover::Installation::build(
            &folder.path,
            programs,
            helper,
            binaries,
            &data_mover::installation::Setting::default(),
            say,
        )
        .await?;
        let show = if options.json { Show::Quiet } else { Show::Brief };
        if let Err(error) = story::data_mover::tell(&mut lab, &mut teller, show).await {
            teller.check("the story was told to the end", false, format!("{error:#}"));
        }
        anyhow::Ok(lab)
    };
    // Ctrl-C must not leave the world behind.
    let lab = tokio::select! {
        told = told => told?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; the world is taken down"),
    };
    let held = told_to_the_end(&mut teller, options.json)?;
    if options.keep {
        keep(&lab.cluster).await?;
    }
    Ok(held)
}

async fn bare(agents: u16, directory: Option<PathBuf>) -> Result<bool> {
    let binaries = binaries()?;
    let folder = Folder::make(directory.as_deref())?;
    let (registry, _) = Registry::begin(&folder.path)?;
    let network = horizon::Network::claim_any()?;
    let range = network.address(1).octets();
    let mut cluster = Cluster::start(&registry, &folder.path.join("baton"), [range[1], range[2]], binaries)?;
    for number in 1..=agents {
        cluster.add_agent(&registry, &format!("h{number}"), &AgentSetting::default())?;
    }
    eprintln!(
        "{agents} agents; each host's policy file allows nothing yet: edit {}/h1/policy.toml and so on, then send the agent SIGHUP",
        cluster.directory().display()
    );
    keep(&cluster).await?;
    registry.sweep()?;
    Ok(true)
}

/// Leaves the world up until Ctrl-C.
async fn keep(cluster: &Cluster) -> Result<()> {
    println!("The world stays up until Ctrl-C. In another shell:");
    let variables: Vec<String> = cluster.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
    println!("  export {}", variables.join(" "));
    tokio::signal::ctrl_c().await.context("wait for Ctrl-C")
}
