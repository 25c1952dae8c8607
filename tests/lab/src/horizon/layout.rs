//! Writes an appliance's root directory: the files and scripts that the vendor's procedure edits and runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    Error,
    appliance::{Appliance, Database, Organization, Side},
};

/// What is filled into the files, besides the appliance itself.
pub struct Setting<'a> {
    /// The `baton-lab` program, which is the services too.
    pub helper: &'a Path,
    /// Slony's daemon.
    pub slon: &'a Path,
    /// PostgreSQL's command-line client.
    pub psql: &'a Path,
    /// The world's registry of processes, and its mark.
    pub registry: &'a Path,
    /// See [`crate::processes::WORLD_VARIABLE`].
    pub mark: &'a str,
    /// Options of every slon, for example `-s 200 -t 1000`.
    pub slon_options: &'a str,
    /// The password of the role `desktone`: `DB_PASSWORD`.
    pub database_password: &'a str,
    /// The password of the role `slony`.
    pub slony_password: &'a str,
}

const SCRIPT: u32 = 0o755;
const PLAIN: u32 = 0o644;
const SECRET: u32 = 0o600;

/// Writes everything. The data directory is not made here.
pub fn write(appliance: &Appliance, setting: &Setting<'_>) -> Result<(), Error> {
    for directory in ["/bin", "/etc", "/run", "/var/log"] {
        create_directory(&appliance.path(directory))?;
    }
    let put = |path: PathBuf, mode: u32, template: &str| write_file(&path, mode, &fill(template, appliance, setting));

    put(appliance.path("/etc/appliance.sh"), PLAIN, include_str!("scripts/appliance.sh"))?;
    put(appliance.service_command(), SCRIPT, include_str!("scripts/service"))?;
    put(appliance.av_setup(), SCRIPT, include_str!("scripts/av-setup"))?;
    put(appliance.path("/usr/local/desktone/scripts/slon_watchdog"), SCRIPT, include_str!("scripts/slon_watchdog"))?;
    put(appliance.watchdog_script(), SCRIPT, include_str!("scripts/start_slon_watchdog.sh"))?;
    for database in appliance.databases() {
        let script = include_str!("scripts/start_slon.sh").replace("@DATABASE@", database.name());
        put(appliance.slon_script(*database), SCRIPT, &script)?;
        let properties = match database {
            Database::Fdb => include_str!("files/fdb.properties").to_owned(),
            // As if edited on Windows once: an editor that keeps line ends must keep these.
            Database::Edb => include_str!("files/edb.properties").replace('\n', "\r\n"),
            Database::Avdb => include_str!("files/avdb.properties").to_owned(),
        };
        put(appliance.properties(*database), PLAIN, &properties)?;
    }
    put(appliance.application_properties(), PLAIN, include_str!("files/application.properties"))?;

    let (slony, desktone) = (setting.slony_password, setting.database_password);
    put(appliance.pgpass(), SECRET, &format!("*:*:*:slony:{slony}\n*:*:*:desktone:{desktone}\n"))?;
    put(appliance.password_file(), SECRET, &format!("{desktone}\n"))
}

fn fill(template: &str, appliance: &Appliance, setting: &Setting<'_>) -> String {
    let (a, b) = match appliance.side {
        Side::A => (appliance.address, appliance.peer),
        Side::B => (appliance.peer, appliance.address),
    };
    let databases: Vec<&str> = appliance.databases().iter().map(|database| database.name()).collect();
    let av_database = match appliance.organization {
        Organization::Provider => Database::Fdb,
        Organization::Tenant => Database::Avdb,
    };
    let words = [
        ("@ROOT@", appliance.root.display().to_string()),
        ("@NAME@", appliance.name.clone()),
        ("@ADDRESS@", appliance.address.to_string()),
        ("@PORT@", appliance.database_port.to_string()),
        ("@A@", a.to_string()),
        ("@B@", b.to_string()),
        ("@DATABASES@", databases.join(" ")),
        ("@AV_DATABASE@", av_database.name().to_owned()),
        ("@SLON_OPTIONS@", setting.slon_options.to_owned()),
        ("@SLON@", setting.slon.display().to_string()),
        ("@PSQL@", setting.psql.display().to_string()),
        ("@HELPER@", setting.helper.display().to_string()),
        ("@REGISTRY@", setting.registry.display().to_string()),
        ("@MARK@", setting.mark.to_owned()),
    ];
    words.iter().fold(template.to_owned(), |text, (word, value)| text.replace(word, value))
}

/// Makes a directory and those above it.
pub fn create_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::File { verb: "create", path: path.to_owned(), source })
}

/// Writes a file with a mode, and the directories above it.
pub fn write_file(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    if let Some(above) = path.parent() {
        create_directory(above)?;
    }
    let failed = |source| Error::File { verb: "write", path: path.to_owned(), source };
    // The mode first: a secret must not be readable for a moment.
    fs::write(path, "").map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::horizon::properties;

    #[test]
    fn the_files_read_as_the_vendors_programs_read_them() {
        let directory = tempfile::tempdir().unwrap();
        let appliance = Appliance {
            name: "ta-b".into(),
            organization: Organization::Tenant,
            side: Side::B,
            address: [127, 0, 11, 4].into(),
            database_port: 15432,
            peer: [127, 0, 11, 3].into(),
            root: directory.path().join("ta-b"),
        };
        let some = Path::new("/nowhere");
        let setting = Setting {
            helper: some,
            slon: some,
            psql: some,
            registry: some,
            mark: "m",
            slon_options: "-s 200",
            database_password: "p",
            slony_password: "s",
        };
        write(&appliance, &setting).unwrap();
        for database in appliance.databases() {
            let text = fs::read_to_string(appliance.properties(*database)).unwrap();
            assert_eq!(properties::list(&text, "db.hosts"), ["127.0.11.3", "127.0.11.4"], "{database}");
            assert_eq!(properties::value(&text, "db.port").as_deref(), Some("15432"), "{database}");
            assert_eq!(properties::value(&text, "db.name").as_deref(), Some(database.name()));
            assert_eq!(text.contains("\r\n"), *database == Database::Edb);
        }
        let text = fs::read_to_string(appliance.application_properties()).unwrap();
        let address = properties::jdbc(&properties::value(&text, "db.jdbc.url").unwrap()).unwrap();
        assert_eq!(address, ("127.0.11.3:15432".parse().unwrap(), "avdb".into()));
        let mode = fs::metadata(appliance.pgpass()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SECRET);
        for script in [appliance.service_command(), appliance.av_setup(), appliance.slon_script(Database::Edb)] {
            assert!(!fs::read_to_string(&script).unwrap().contains('@'), "{} has unfilled words", script.display());
        }
    }
}
