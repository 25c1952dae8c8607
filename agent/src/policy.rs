//! The agent's own policy: what it will touch on this host (DESIGN.md section 9). A coordinator cannot widen it.
//!
//! Apart because it is the last word before an effect, and must be readable by the administrator of the host alone.
//! An empty policy allows nothing. It must never be changed by anything that comes over the wire.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use baton_model::outcome::Fault;
use glob::{MatchOptions, Pattern};
use serde::Deserialize;

pub mod need;

pub use need::{Need, needs};

/// The file as it is written. Every list holds patterns (`*`, `?`, `[...]`); in paths and programs `*` stays within one
/// directory and `**` does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFile {
    /// Names of services.
    pub services: Vec<String>,
    /// Files that may be read and changed.
    pub paths: Vec<String>,
    /// Programs that may be run, and whose processes may be ended.
    pub programs: Vec<String>,
    /// `fdb` (on any server), or `HOST:PORT/fdb`.
    pub databases: Vec<String>,
    /// Users that programs may be run as, other than the agent's own.
    pub users: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
    /// PowerShell cmdlets, beside the shell itself among `programs`.
    pub cmdlets: Vec<String>,
}

/// A policy that was read.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    file: PathBuf,
    services: Vec<Pattern>,
    paths: Vec<Pattern>,
    programs: Vec<Pattern>,
    databases: Vec<Pattern>,
    users: Vec<Pattern>,
    secrets: Vec<Pattern>,
    cmdlets: Vec<Pattern>,
}

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("BTN-0409 cannot read the policy file {}: {source}. Create it; an empty one allows nothing", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("BTN-0409 the policy file {} is not understood: {reason}", .path.display())]
    Unusable { path: PathBuf, reason: String },
}

const OF_PATHS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
const OF_NAMES: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: false, require_literal_leading_dot: false };

impl Policy {
    /// Reads a policy file.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads the text of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        let unusable = |reason: String| PolicyError::Unusable { path: path.to_owned(), reason };
        let file: PolicyFile = toml::from_str(text).map_err(|error| unusable(error.to_string()))?;
        let list = |key: &str, texts: &[String]| -> Result<Vec<Pattern>, PolicyError> {
            let pattern = |text: &String| {
                if matches!(key, "paths" | "programs") && !text.starts_with('/') {
                    return Err(unusable(format!("{key}: {text:?} must begin with /")));
                }
                Pattern::new(text).map_err(|error| unusable(format!("{key}: {text:?}: {error}")))
            };
            texts.iter().map(pattern).collect()
        };
        Ok(Self {
            file: path.to_owned(),
            services: list("services", &file.services)?,
            paths: list("paths", &file.paths)?,
            programs: list("programs", &file.programs)?,
            databases: list("databases", &file.databases)?,
            users: list("users", &file.users)?,
            secrets: list("secrets", &file.secrets)?,
            cmdlets: list("cmdlets", &file.cmdlets)?,
        })
    }

    /// Everything that an action will touch.
    pub fn check(&self, needs: &[Need]) -> Result<(), Fault> {
        needs.iter().try_for_each(|need| match need {
            Need::Service(name) => self.check_service(name),
            Need::Path(path) => self.check_path(path).map(drop),
            Need::Program(program) => self.check_program(program).map(drop),
            Need::Process(program) => self.check_process(program),
            Need::Database { host, port, database } => self.check_database(host, *port, database),
            Need::User(user) => self.check_user(user),
            Need::Secret(name) => self.check_secret(name),
            Need::Cmdlet(name) => self.check_cmdlet(name),
        })
    }

    pub fn check_service(&self, name: &str) -> Result<(), Fault> {
        self.name("BTN-0401", "service", "services", &self.services, name)
    }
    /// The path as it really is: absolute, without `..`, every link followed. What is checked is what must be used.
    pub fn check_path(&self, path: &str) -> Result<PathBuf, Fault> {
        self.path("BTN-0402", "path", "paths", &self.paths, path)
    }
    /// As [`Policy::check_path`]. A program that is a link is matched as what it points to, or as it is written: an
    /// alternatives link is how distributions install programs, and a listed name is trusted as such.
    pub fn check_program(&self, program: &str) -> Result<PathBuf, Fault> {
        let path = Path::new(program);
        if is_normal(path) && self.programs.iter().any(|pattern| pattern.matches_path_with(path, OF_PATHS)) {
            return Ok(path.to_owned());
        }
        self.path("BTN-0403", "program", "programs", &self.programs, program)
    }
    /// A program whose processes are looked for or ended: a path, or a file name that some pattern ends with. A pattern for
    /// many files of a directory names none of them: by it, every process of such a name would be meant, wherever it is.
    pub fn check_process(&self, program: &str) -> Result<(), Fault> {
        if program.contains('/') {
            return self.check_program(program).map(drop);
        }
        let named = |pattern: &Pattern| {
            let last = pattern.as_str().rsplit('/').next().unwrap_or_default();
            is_literal(last) && Pattern::new(last).is_ok_and(|last| last.matches_with(program, OF_NAMES))
        };
        if self.programs.iter().any(named) {
            Ok(())
        } else {
            // A name alone is no line of a policy.
            let mut fault = self.refusal("BTN-0403", "program", "programs", program);
            fault.remedy = format!(
                "If it should, its administrator adds the path of each program of that name in {}, such as programs = \
                 [\"/usr/bin/{}\"], and sends the agent SIGHUP.",
                self.file.display(),
                Pattern::escape(program)
            );
            Err(fault)
        }
    }
    /// The executable of a process that is to be ended, as the kernel names it. A listed link means what it leads to.
    pub fn check_executable(&self, executable: &Path) -> Result<(), Fault> {
        let allowed = |pattern: &Pattern| {
            let link =
                || is_literal(pattern.as_str()).then(|| Path::new(pattern.as_str()).canonicalize().ok()).flatten();
            pattern.matches_path_with(executable, OF_PATHS) || link().is_some_and(|real| real == executable)
        };
        if self.programs.iter().any(allowed) {
            Ok(())
        } else {
            Err(self.refusal("BTN-0403", "program", "programs", &executable.display().to_string()))
        }
    }
    pub fn check_database(&self, host: &str, port: u16, database: &str) -> Result<(), Fault> {
        let whole = format!("{host}:{port}/{database}");
        let allowed = self.databases.iter().any(|pattern| {
            let value = if pattern.as_str().contains('/') { whole.as_str() } else { database };
            pattern.matches_with(value, OF_NAMES)
        });
        if allowed { Ok(()) } else { Err(self.refusal("BTN-0404", "database", "databases", &whole)) }
    }
    pub fn check_user(&self, user: &str) -> Result<(), Fault> {
        self.name("BTN-0405", "user", "users", &self.users, user)
    }
    pub fn check_secret(&self, name: &str) -> Result<(), Fault> {
        self.name("BTN-0406", "secret", "secrets", &self.secrets, name)
    }
    pub fn check_cmdlet(&self, name: &str) -> Result<(), Fault> {
        self.name("BTN-0407", "cmdlet", "cmdlets", &self.cmdlets, name)
    }

    fn name(&self, code: &str, what: &str, key: &str, patterns: &[Pattern], value: &str) -> Result<(), Fault> {
        let allowed = patterns.iter().any(|pattern| pattern.matches_with(value, OF_NAMES));
        if allowed { Ok(()) } else { Err(self.refusal(code, what, key, value)) }
    }

    fn path(&self, code: &str, what: &str, key: &str, patterns: &[Pattern], value: &str) -> Result<PathBuf, Fault> {
        let path = Path::new(value);
        if !is_normal(path) {
            let message = format!("the {what} {value:?} must be absolute and without \"..\"");
            return Err(Fault::new("BTN-0408", message, "Correct the runbook."));
        }
        let real = real_path(path)
            .map_err(|error| Fault::new("BTN-0408", format!("the {what} {value:?} cannot be resolved: {error}"), ""))?;
        if patterns.iter().any(|pattern| pattern.matches_path_with(&real, OF_PATHS)) {
            Ok(real)
        } else if real == path {
            Err(self.refusal(code, what, key, value))
        } else {
            let mut fault = self.refusal(code, what, key, &real.display().to_string());
            fault.message = format!("{} (that is where {value} leads)", fault.message);
            Err(fault)
        }
    }

    fn refusal(&self, code: &str, what: &str, key: &str, value: &str) -> Fault {
        Fault::new(
            code,
            format!("this host's policy does not allow the {what} {value:?}"),
            format!(
                "If it should, its administrator adds it in {}, {key} = [\"{}\"], and sends the agent SIGHUP.",
                self.file.display(),
                Pattern::escape(value)
            ),
        )
    }
}

fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '['])
}

fn is_normal(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// What a mount answers whose server is gone: a lost site's share. Whoever wants to read there must find out, not be refused.
fn is_away(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const AWAY: &[Errno] = &[
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::NOTCONN,
        Errno::TIMEDOUT,
        Errno::STALE,
        Errno::IO,
    ];
    Errno::from_io_error(error).is_some_and(|errno| AWAY.contains(&errno))
}

/// Every link followed; what does not exist yet, or is on a share that is away, is taken as written, below the deepest
/// directory that is there.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_away(&error) => {
            // A link to nothing is refused: what it leads to can come into being later, unchecked.
            if path.symlink_metadata().is_ok() {
                return Err(io::Error::other("it is a link to nothing"));
            }
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            Ok(real_path(parent)?.join(name))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(Path::new("/etc/baton/policy.toml"), text).expect("a policy")
    }

    #[test]
    fn a_share_that_is_away_is_told_from_one_that_may_not_be_read() {
        use rustix::io::Errno;
        for errno in [Errno::HOSTDOWN, Errno::STALE, Errno::NOTCONN, Errno::IO] {
            assert!(is_away(&errno.into()), "{errno}");
        }
        for errno in [Errno::ACCESS, Errno::LOOP, Errno::NOTDIR, Errno::NAMETOOLONG] {
            assert!(!is_away(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        let policy = policy("");
        let codes: Vec<String> = [
            policy.check_service("POM"),
            policy.check_path("/etc/hosts").map(drop),
            policy.check_program("/bin/true").map(drop),
            policy.check_process("slon"),
            policy.check_database("127.0.0.1", 5432, "fdb"),
            policy.check_user("postgres"),
            policy.check_secret("fdb"),
            policy.check_cmdlet("Get-CsService"),
        ]
        .into_iter()
        .map(|refused| refused.expect_err("nothing is allowed").code)
        .collect();
        assert_eq!(
            codes,
            ["BTN-0401", "BTN-0402", "BTN-0403", "BTN-0403", "BTN-0404", "BTN-0405", "BTN-0406", "BTN-0407"]
        );
    }

    #[test]
    fn a_refusal_names_value_file_and_the_line_to_add() {
        let fault = policy("").check_service("POM").expect_err("refused");
        let text = fault.to_string();
        for part in ["BTN-0401", "\"POM\"", "/etc/baton/policy.toml", "services = [\"POM\"]"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_a_refusal_says_to_add_is_a_line_of_a_policy_that_allows_it() {
        type Check = fn(&Policy) -> Result<(), Fault>;
        let checks: [Check; 8] = [
            |policy| policy.check_service("POM[1]"),
            |policy| policy.check_path("/etc/hosts").map(drop),
            |policy| policy.check_program("/bin/true").map(drop),
            |policy| policy.check_process("slon"),
            |policy| policy.check_database("127.0.0.1", 5432, "fdb"),
            |policy| policy.check_user("postgres"),
            |policy| policy.check_secret("fdb"),
            |policy| policy.check_cmdlet("Get-CsService"),
        ];
        for check in checks {
            let fault = check(&policy("")).expect_err("nothing is allowed");
            let from = fault.remedy.find(" = [").expect("a line");
            let key = fault.remedy[..from].rfind(' ').expect("a key") + 1;
            let end = fault.remedy.find("\"]").expect("its end") + 2;
            let line = &fault.remedy[key..end];
            assert!(check(&policy(line)).is_ok(), "{line} of: {fault}");
        }
    }

    #[test]
    fn databases_are_named_alone_or_with_their_server() {
        let policy = policy("databases = ['fdb', '127.0.0.2:5433/e*']");
        assert!(policy.check_database("anywhere", 1, "fdb").is_ok());
        assert!(policy.check_database("127.0.0.2", 5433, "edb").is_ok());
        assert!(policy.check_database("127.0.0.3", 5433, "edb").is_err());
    }

    #[test]
    fn processes_by_name_need_a_program_of_that_name() {
        let policy = policy("programs = ['/usr/lib/postgresql/*/bin/slon', '/opt/x/slon_*', '/opt/y/*', '/opt/z/**']");
        assert!(policy.check_process("slon").is_ok());
        assert!(policy.check_process("slon_watchdog").is_err(), "a wildcard names nothing");
        assert!(policy.check_process("/opt/x/slon_watchdog").is_ok());
        assert!(policy.check_process("sshd").is_err());
        assert!(policy.check_process("/usr/lib/postgresql/15/bin/slon").is_ok());
        assert!(policy.check_process("/usr/bin/slon").is_err());
    }

    #[test]
    fn an_executable_is_listed_as_itself_or_by_a_link_to_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("real");
        std::fs::write(root.join("slon-2.2"), "x").expect("written");
        std::os::unix::fs::symlink(root.join("slon-2.2"), root.join("slon")).expect("a link");
        let policy = policy(&format!("programs = ['{}/slon', '/opt/x/slon_*']", root.display()));
        assert!(policy.check_executable(&root.join("slon-2.2")).is_ok());
        assert!(policy.check_executable(Path::new("/opt/x/slon_watchdog")).is_ok());
        assert_eq!(policy.check_executable(Path::new("/usr/sbin/sshd")).expect_err("refused").code, "BTN-0403");
        assert_eq!(policy.check_executable(&root.join("slony")).expect_err("refused").code, "BTN-0403");
    }

    #[test]
    fn paths_cannot_leave_their_directory_by_dots_or_links() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("real");
        std::fs::create_dir(root.join("open")).expect("made");
        std::fs::create_dir(root.join("closed")).expect("made");
        std::fs::write(root.join("closed/file"), "x").expect("written");
        std::os::unix::fs::symlink(root.join("closed"), root.join("open/door")).expect("a link");
        std::os::unix::fs::symlink(root.join("closed/absent"), root.join("open/dangling")).expect("a link");
        std::os::unix::fs::symlink(root.join("open"), root.join("alias")).expect("a link");
        let policy = policy(&format!("paths = ['{}/open/**']", root.display()));
        let check = |path: &str| policy.check_path(&format!("{}/{path}", root.display()));
        assert_eq!(check("open/new/file").expect("allowed"), root.join("open/new/file"));
        assert_eq!(check("alias/file").expect("a link inside"), root.join("open/file"));
        assert_eq!(check("open/door/file").expect_err("led outside").code, "BTN-0402");
        assert_eq!(check("open/../closed/file").expect_err("dots").code, "BTN-0408");
        assert_eq!(check("open/dangling").expect_err("a link to nothing").code, "BTN-0408");
        assert_eq!(policy.check_path("open/file").expect_err("relative").code, "BTN-0408");
        assert!(policy.check_path(&format!("{}/open/../closed/new", root.display())).is_err());
    }

    #[test]
    fn a_star_stays_within_one_directory() {
        let policy = policy("paths = ['/srv/absent/*.properties']");
        assert!(policy.check_path("/srv/absent/a.properties").is_ok());
        assert!(policy.check_path("/srv/absent/b/a.properties").is_err());
    }

    #[test]
    fn typing_errors_in_the_file_are_errors() {
        for text in ["service = ['x']", "paths = ['etc/*']", "paths = ['/a/***']", "users = 'x'"] {
            assert!(Policy::parse(Path::new("p"), text).is_err(), "{text}");
        }
    }
}
