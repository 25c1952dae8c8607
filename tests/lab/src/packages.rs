//! The programs of other people that the lab needs: found, and installed from Debian where they are missing.
//!
//! Apart, because it is the only place that changes the machine outside the lab's own directory. It says what it
//! installs and why before it does so, and it never installs anything else.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

/// What a lab needs of the Debian archive, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// The name in the archive.
    pub name: &'static str,
    /// Why the lab needs it, in the words shown to the person whose machine it is.
    pub why: &'static str,
}

/// What the Horizon DaaS lab needs: real PostgreSQL servers that replicate by real Slony-I.
pub const HORIZON: [Package; 3] = [
    Package { name: "postgresql-15", why: "the database servers of the appliances" },
    Package { name: "postgresql-15-slony1-2", why: "Slony-I's triggers inside those servers" },
    Package { name: "slony1-2-bin", why: "slon and slonik, which replicate and set up the replication" },
];

/// What the Data Mover lab needs: real PostgreSQL servers as repositories.
pub const DATA_MOVER: [Package; 1] = [Package { name: "postgresql-15", why: "the repositories of both sides" }];

/// Where the programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Directory of `postgres`, `initdb`, `pg_ctl`, `pg_dump`, `psql` of version 15.
    pub postgres: PathBuf,
    /// The replication daemon.
    pub slon: PathBuf,
    /// The interpreter of Slony's set-up scripts.
    pub slonik: PathBuf,
}

/// Why the programs cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only root may install; the command to run is in the text.
    #[error(
        "missing {missing}, and only root can install it: run \"apt-get install --no-install-recommends {missing}\""
    )]
    NotRoot { missing: String },
    /// No `apt-get` here.
    #[error("missing {missing}, and this machine has no apt-get: the lab knows Debian and its relatives only")]
    NotDebian { missing: String },
    /// `apt-get` said no.
    #[error("apt-get {what} failed ({status}): {tail}")]
    Apt { what: String, status: String, tail: String },
    /// The package is there, the program is not.
    #[error("package {package} is installed, but {program} is not at {path}")]
    Lost { package: &'static str, program: &'static str, path: PathBuf },
    /// A program could not be started at all.
    #[error("start {program}: {source}")]
    Start { program: &'static str, source: std::io::Error },
}

impl Programs {
    /// One of PostgreSQL's own programs, for example `pg_ctl`.
    pub fn of_postgres(&self, program: &str) -> PathBuf {
        self.postgres.join(program)
    }

    /// Looks for the programs of these packages without changing anything.
    pub fn find(packages: &[Package]) -> Result<Self, Error> {
        let is_wanted = |name: &str| packages.iter().any(|package| package.name == name);
        let programs = Self {
            postgres: "/usr/lib/postgresql/15/bin".into(),
            slon: "/usr/bin/slon".into(),
            slonik: "/usr/bin/slonik".into(),
        };
        let wanted = [
            ("postgresql-15", "initdb", programs.of_postgres("initdb")),
            ("postgresql-15", "pg_ctl", programs.of_postgres("pg_ctl")),
            ("slony1-2-bin", "slon", programs.slon.clone()),
            ("slony1-2-bin", "slonik", programs.slonik.clone()),
        ];
        for (package, program, path) in wanted.into_iter().filter(|(package, ..)| is_wanted(package)) {
            let usable = |found: fs::Metadata| found.is_file() && found.permissions().mode() & 0o111 != 0;
            if !fs::metadata(&path).is_ok_and(usable) {
                return Err(Error::Lost { package, program, path });
            }
        }
        // Its name holds Slony's version, as in slony1_funcs.2.2.11.so.
        let (program, path) = ("slony1_funcs", PathBuf::from("/usr/lib/postgresql/15/lib"));
        let named = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(program);
        if is_wanted("postgresql-15-slony1-2") && !fs::read_dir(&path).is_ok_and(|entries| entries.flatten().any(named))
        {
            return Err(Error::Lost { package: "postgresql-15-slony1-2", program, path });
        }
        Ok(programs)
    }
}

/// Makes sure that `packages` are installed, and returns where the programs are.
///
/// `say` gets each line meant for a person, before the thing it announces is done. Nothing is installed when
/// everything is there already.
pub async fn ensure(packages: &[Package], mut say: impl FnMut(&str)) -> Result<Programs, Error> {
    let mut missing = Vec::new();
    for package in packages {
        if !installed(package.name).await? {
            missing.push(*package);
        }
    }
    if !missing.is_empty() {
        install(&missing, &mut say).await?;
    }
    Programs::find(packages)
}

/// Whether dpkg has the package fully installed. A removed package whose configuration is still there has not.
async fn installed(name: &str) -> Result<bool, Error> {
    let asked =
        Command::new("dpkg-query").args(["-W", "-f=${db:Status-Abbrev}", name]).stderr(Stdio::null()).output().await;
    match asked {
        Ok(output) => Ok(output.status.success() && String::from_utf8_lossy(&output.stdout).starts_with("ii")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Start { program: "dpkg-query", source }),
    }
}

async fn install(missing: &[Package], say: &mut impl FnMut(&str)) -> Result<(), Error> {
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Error::NotDebian { missing: names.join(" ") });
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot { missing: names.join(" ") });
    }
    for package in missing {
        say(&format!("installing {}: {}", package.name, package.why));
    }
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&names);
    // Fresh images have no package lists at all; a machine with lists need not wait for an update.
    if apt(&install).await.is_err() {
        say("fetching the package lists, because the first try did not find everything");
        apt(&["update"]).await?;
        apt(&install).await?;
    }
    Ok(())
}

async fn apt(arguments: &[&str]) -> Result<(), Error> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| Error::Start { program: "apt-get", source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("; ");
    Err(Error::Apt { what: arguments.join(" "), status: output.status.to_string(), tail })
}
