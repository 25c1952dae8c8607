//! An installation for one test: three coordinators, an agent a host, a folder in which effects are seen.
//!
//! It must never wait for a time to pass, only for something to become true.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use baton_lab::{
    cluster::{AgentSetting, Binaries, Cluster},
    horizon::Network,
    processes::Registry,
};
use baton_platform::identity::Role;
use serde_json::Value;

/// What may take long on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// What a program of the tests does: it says that it has begun, waits until it may go on, and has its effect. One line a
/// performance, so that a second one shows. It ends by itself when the world is gone.
const WORKER: &str = r#"cd "$1" || exit 9
echo "$$" >> "begun.$2"
while [ ! -e "go.$2" ]; do
  [ -d "$1" ] || exit 9
  sleep 0.05
done
echo "$2" >> "effect.$2"
"#;
/// The kernel ends what an agent has started when the agent is killed, and not what that has started: this one lives on.
const GATE: &str = "/bin/sh \"$1/worker.sh\" \"$1\" \"$2\"\nexit $?\n";

/// See the module. Dropped, everything that it started is ended.
pub struct World {
    // Dropped in this order: the processes, what they had started, the claim of the addresses, the files.
    pub cluster: Cluster,
    pub registry: Registry,
    _network: Network,
    directory: tempfile::TempDir,
}

/// What `baton` answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// How a world is set up beyond its hosts.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// Every agent's secrets.
    pub secrets: BTreeMap<String, String>,
    /// `BATON_LOG` of coordinators and agents.
    pub log: Option<String>,
}

impl World {
    /// With an agent on each of these hosts.
    pub fn start(hosts: &[&str]) -> Self {
        Self::with(hosts, &Setting::default())
    }

    pub fn with(hosts: &[&str], setting: &Setting) -> Self {
        baton_platform::tls::install_crypto_provider();
        let directory = tempfile::tempdir().expect("a directory");
        let (registry, _) = Registry::begin(directory.path()).expect("a registry");
        let network = Network::claim_any().expect("addresses");
        let octets = network.address(1).octets();
        let mut binaries = Binaries::beside_this().expect("the programs are built");
        if let Some(filter) = &setting.log {
            binaries.coordinator = logging(directory.path(), &binaries.coordinator, filter);
            binaries.agent = logging(directory.path(), &binaries.agent, filter);
        }
        let place = directory.path().join("baton");
        let cluster = Cluster::start(&registry, &place, [octets[1], octets[2]], binaries).expect("a cluster");
        let mut world = Self { cluster, registry, _network: network, directory };
        fs::create_dir(world.files()).expect("a folder");
        world.write("gate.sh", GATE);
        world.write("worker.sh", WORKER);
        let agent = AgentSetting {
            policy: format!(
                "programs = ['/bin/sh']\npaths = ['{}/**']\nsecrets = ['*']\n",
                world.files().canonicalize().expect("real").display()
            ),
            secrets: setting.secrets.clone(),
            ..AgentSetting::default()
        };
        for host in hosts {
            world.cluster.add_agent(&world.registry, host, &agent).expect("an agent");
        }
        world.ready(hosts);
        world
    }

    /// Waits until all of these hosts are on the line with every coordinator that runs.
    pub fn ready(&self, hosts: &[&str]) {
        self.cluster.wait_for_agents(hosts, PATIENCE).expect("agents on the line");
    }

    fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// A file where effects are seen, as the runbooks name it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files().canonicalize().expect("real").join(name)
    }

    /// Everything that belongs to this world.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn lines(&self, name: &str) -> usize {
        self.read(name).lines().count()
    }

    /// Waits until a gate's program has begun for the `times`th time.
    pub fn begun(&self, gate: &str, times: usize) {
        eventually(&format!("gate {gate} begun {times} times"), || {
            let seen = self.lines(&format!("begun.{gate}"));
            if seen >= times { Ok(()) } else { Err(format!("{seen} times; {}", self.open_run())) }
        });
    }

    /// Lets a gate's program go on.
    pub fn release(&self, gate: &str) {
        self.write(&format!("go.{gate}"), "");
    }

    /// How often a gate's program had its effect.
    pub fn effects(&self, gate: &str) -> usize {
        self.lines(&format!("effect.{gate}"))
    }

    pub fn baton(&self, arguments: &[&str]) -> Said {
        Said::of(self.cluster.baton(arguments).expect("baton runs"))
    }

    /// `baton` as somebody else; the folder of their identity is made where it is not there.
    pub fn baton_as(&self, who: &str, role: Role, arguments: &[&str]) -> Said {
        let identity = self.cluster.operator(who, role).expect("an identity");
        self.baton_with(&identity, arguments)
    }

    pub fn baton_with(&self, identity: &Path, arguments: &[&str]) -> Said {
        let mut command = self.cluster.command(arguments);
        command.env("BATON_IDENTITY", identity);
        Said::of(command.output().expect("baton runs"))
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        self.cluster.json(arguments).expect("a document")
    }

    /// Applies a group file and what it brings along.
    pub fn apply(&self, group: &str) {
        let path = self.path(&format!("{group}.yaml"));
        let said = self.baton(&["apply", &path.display().to_string(), "--reason", "a test"]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// Starts a run and does not watch it. Answers its name.
    pub fn begin(&self, arguments: &[&str]) -> String {
        let mut all = arguments.to_vec();
        all.extend(["--yes", "--detach", "--reason", "a test"]);
        let said = self.baton(&all);
        assert_eq!(said.code, 0, "{said:?}");
        said.stdout.trim().to_owned()
    }

    pub fn show(&self, run: &str) -> Value {
        self.json(&["show", run])
    }

    /// Waits until a run's view is as wished.
    pub fn until(&self, run: &str, what: &str, mut wished: impl FnMut(&Value) -> bool) -> Value {
        eventually(&format!("{run} {what}"), || {
            let view = self.cluster.json(&["show", run]).map_err(|error| format!("{error:#}"))?;
            if wished(&view) { Ok(view) } else { Err(told(&view)) }
        })
    }

    /// Waits until a run is over; it must have ended with this phase.
    pub fn ends(&self, run: &str, phase: &str) -> Value {
        let view = self.until(run, "is over", |view| view["over"] == true);
        assert_eq!(view["phase"], phase, "{}", told(&view));
        view
    }

    fn open_run(&self) -> String {
        match self.cluster.json(&["status"]) {
            Ok(status) => status["groups"][0]["open_run"].to_string(),
            Err(error) => format!("{error:#}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        // What the processes said last is worth more than what the test saw.
        let mut logs: Vec<PathBuf> = (0..self.cluster.coordinators())
            .map(|number| self.cluster.coordinator_directory(number).join("log"))
            .collect();
        logs.extend(self.cluster.agents().iter().map(|host| self.cluster.agent_directory(host).join("log")));
        for log in logs {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {}\n{}", log.display(), lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A refusal: exit 5, this code, and all of these words.
    pub fn is_refused(&self, code: &str, words: &[&str]) {
        self.is(5, code, words);
    }

    /// That exit code, and stderr beginning with this code and having all of these words.
    pub fn is(&self, exit: i32, code: &str, words: &[&str]) {
        assert_eq!(self.code, exit, "{self:?}");
        assert!(self.stderr.lines().any(|line| line.starts_with(code)), "not {code}: {self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?}: {self:?}");
        }
    }
}

/// A run's view, short enough for a failed test.
pub fn told(view: &Value) -> String {
    let steps: Vec<String> = view["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            let tasks: Vec<String> = step["tasks"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|task| {
                    format!(
                        "{} {} {} {} {}",
                        task["host"], task["attempt"], task["state"], task["summary"], task["fault"]
                    )
                })
                .collect();
            format!("{} {} {} [{}]", step["id"], step["state"], step["note"], tasks.join("; "))
        })
        .collect();
    let history: Vec<&str> =
        view["history"].as_array().into_iter().flatten().filter_map(|line| line["what"].as_str()).collect();
    format!("{} {}\n{}\n{}", view["phase"], view["why"], steps.join("\n"), history.join("\n"))
}

/// Asks until it goes well.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(value) => return value,
            Err(seen) => assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}. Seen: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// The program with its log as verbose as wished, started through a script: as a unit's `Environment=` would.
fn logging(directory: &Path, program: &Path, filter: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(program.file_name().expect("a program has a name"));
    let text = format!("#!/bin/sh\nBATON_LOG={filter} exec '{}' \"$@\"\n", program.display());
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made executable");
    path
}

/// A command that goes on while the test does.
pub fn in_background(mut command: Command, stdout: &Path) -> std::process::Child {
    let file = fs::File::create(stdout).expect("a file");
    let errors = file.try_clone().expect("a file");
    command.stdout(file).stderr(errors).spawn().expect("started")
}
