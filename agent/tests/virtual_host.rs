//! A real systemd, booted as process 1 of namespaces over this machine's own files: a unit's death is heard, and not looked for.
//!
//! Apart because it needs root and systemd; without them it says so and proves nothing. What the host writes goes to memory, its
//! cgroups are its own, and all of it dies with its process 1.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use baton_agent::{
    action::{Context, ContextOptions},
    host::Host,
    policy::Policy,
    probe::{Answer, Probe},
    secrets::{Secret, Secrets},
};
use baton_model::outcome::Fault;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(60);

/// `$1`: the host's directory; the others, in pairs: where a hierarchy of cgroups is, and the host's own place in it.
const BOOT: &str = r#"
set -e
for cgroup; do
    # A cpuset takes nobody before it has processors; systemd does without.
    case $cgroup in */baton-trial-*) echo $$ > "$cgroup/cgroup.procs" || true ;; esac
done
exec env container=other unshare --pid --fork --mount --uts --ipc --net --cgroup --kill-child sh -ec '
mount --make-rprivate /
mount -t tmpfs tmpfs $1
mkdir -p $1/upper/etc/systemd/system $1/work $1/root
cp $1.units/* $1/upper/etc/systemd/system/
mount -t overlay overlay -o lowerdir=/,upperdir=$1/upper,workdir=$1/work $1/root
cd $1/root
mount -t proc proc proc
mount --rbind /sys sys
mount --make-rslave sys
shift
# Or it would take the top of every hierarchy, the one that it sees, for its own.
while [ $# -gt 1 ]; do mount --bind "$2" ".$1"; shift 2; done
mount --rbind /dev dev
mount --make-rslave dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
exec chroot . /lib/systemd/systemd --system --unit=trial.target
' boot "$@"
"#;

struct VirtualHost {
    /// `unshare`; process 1 goes with it.
    child: Child,
    init: u32,
    /// Hierarchies, and its place in each.
    cgroups: Vec<(PathBuf, PathBuf)>,
    _directory: tempfile::TempDir,
}

impl VirtualHost {
    async fn boot(units: &[(&str, &str)]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/lib/systemd/systemd").exists() {
            // tests/run installs systemd; where it and root are missing all the same, nobody may think that this was tried.
            assert!(std::env::var_os("CI").is_none(), "a virtual host needs root and systemd");
            eprintln!("NOT TRIED: a virtual host needs root and systemd");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("host");
        let written = directory.path().join("host.units");
        fs::create_dir(&place).and_then(|()| fs::create_dir(&written)).expect("made");
        for (name, text) in units {
            fs::write(written.join(name), text).expect("written");
        }
        let cgroups = cgroups(&format!("baton-trial-{}", std::process::id()));
        let child = Command::new("sh")
            .args(["-c", BOOT, "boot"])
            .arg(&place)
            .args(cgroups.iter().flat_map(|(hierarchy, own)| [hierarchy, own]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut host = Self { child, init: 0, cgroups, _directory: directory };
        let children = format!("/proc/{0}/task/{0}/children", host.child.id());
        timeout(LONG, async {
            while !host.bus().exists() {
                assert!(host.child.try_wait().expect("a child").is_none(), "the host did not boot");
                let found = fs::read_to_string(&children).unwrap_or_default();
                host.init = found.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the host does not boot");
        Some(host)
    }

    fn bus(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/dbus/system_bus_socket", self.init))
    }

    /// In the host, as somebody by hand.
    async fn systemctl(&self, arguments: &[&str]) {
        let target = self.init.to_string();
        let ended = tokio::process::Command::new("nsenter")
            .args(["-t", &target, "-p", "-m", "-u", "-i", "-n", "-r", "-w", "systemctl"])
            .args(arguments)
            .status();
        assert!(timeout(LONG, ended).await.expect("in time").expect("it starts").success(), "systemctl {arguments:?}");
    }

    fn context(&self) -> Context {
        Context::new(ContextOptions {
            task: None,
            directory: None,
            run_directory: None,
            policy: Arc::new(Policy::parse(Path::new("/policy"), "services = ['*']").expect("a policy")),
            secrets: Arc::new(Nobodys),
            host: Host { bus: Some(format!("unix:path={}", self.bus().display())), ..Host::default() },
            timeout: LONG,
            cancel: CancellationToken::new(),
            progress: None,
        })
        .expect("a context")
    }
}

/// One below this process's own in every hierarchy, made.
fn cgroups(name: &str) -> Vec<(PathBuf, PathBuf)> {
    let own = fs::read_to_string("/proc/self/cgroup").expect("a process has cgroups");
    let places = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let top = Path::new("/sys/fs/cgroup");
        let hierarchy = match controllers {
            "" if top.join("unified").is_dir() => top.join("unified"),
            "" => top.to_owned(),
            named => top.join(named.trim_start_matches("name=")),
        };
        let own = hierarchy.join(path).join(name);
        Some((hierarchy, own))
    });
    places.filter(|(_, own)| fs::create_dir(own).is_ok()).collect()
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Empty once everything in it has ended; from the inside out.
        let end = std::time::Instant::now() + LONG;
        for (_, cgroup) in &self.cgroups {
            while cgroup.exists() && std::time::Instant::now() < end {
                let inside_out = ["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"];
                let _ = Command::new("find").arg(cgroup).args(inside_out).stderr(Stdio::null()).status();
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

struct Nobodys;

#[async_trait]
impl Secrets for Nobodys {
    async fn secret(&self, name: &str) -> Result<Secret, Fault> {
        Err(Fault::new("BTN-0421", format!("there is no secret {name:?}"), "Make it."))
    }
}

async fn disturbed(probe: &mut Probe, by: &str) {
    timeout(LONG, probe.disturbed()).await.unwrap_or_else(|_| panic!("nothing is heard of {by}"));
}

/// Signals of what is known already may still be on their way.
async fn healthy_at_last(probe: &mut Probe, host: &VirtualHost) {
    timeout(LONG, async {
        while !matches!(probe.ask(&host.context()).await, Answer::Healthy(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it is never healthy");
}

/// Signals of what was before may still be on their way, but then, until it is asked again, there is nobody to hear from.
async fn quiet_at_last(probe: &mut Probe) {
    const SIGNALS_MAX: usize = 100;
    for _ in 0..SIGNALS_MAX {
        if timeout(Duration::from_millis(500), probe.disturbed()).await.is_err() {
            return;
        }
    }
    panic!("a bus that is gone is heard {SIGNALS_MAX} times");
}

#[tokio::test]
async fn a_units_death_is_heard_although_nobody_asks_and_again_after_the_bus_was_gone() {
    let units = [
        ("trial.target", "[Unit]\nRequires=dbus.service\nAfter=dbus.service\nAllowIsolate=yes\n"),
        ("moverd.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
    ];
    let Some(host) = VirtualHost::boot(&units).await else { return };
    let question = json!({ "service": { "name": "moverd", "manager": "systemd" } });
    let mut probe = Probe::new(&serde_json::from_value(question).expect("a probe")).expect("it makes sense");

    let stopped = timeout(LONG, async {
        loop {
            // The socket is there before who answers at it.
            match probe.ask(&host.context()).await {
                Answer::CannotTell(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                other => break other,
            }
        }
    });
    let stopped = stopped.await.expect("systemd never answers");
    assert_eq!(stopped, Answer::Unhealthy("inactive (dead)".to_owned()), "it was never seen to run");

    host.systemctl(&["start", "moverd"]).await;
    disturbed(&mut probe, "the start").await;
    assert_eq!(probe.ask(&host.context()).await, Answer::Healthy("active (running)".to_owned()));

    host.systemctl(&["kill", "-s", "KILL", "moverd"]).await;
    disturbed(&mut probe, "the kill").await;
    let mut answer = probe.ask(&host.context()).await;
    if matches!(answer, Answer::Healthy(_)) {
        // That was the start's own signal.
        disturbed(&mut probe, "the kill").await;
        answer = probe.ask(&host.context()).await;
    }
    assert_eq!(answer, Answer::Died("failed (failed)".to_owned()));
    assert_eq!(probe.ask(&host.context()).await, Answer::Unhealthy("failed (failed)".to_owned()), "told once");

    host.systemctl(&["start", "moverd"]).await;
    healthy_at_last(&mut probe, &host).await;
    host.systemctl(&["kill", "-s", "KILL", "dbus.service"]).await;
    disturbed(&mut probe, "the end of the bus").await;
    quiet_at_last(&mut probe).await;
    healthy_at_last(&mut probe, &host).await;

    host.systemctl(&["stop", "moverd"]).await;
    disturbed(&mut probe, "an orderly stop").await;
    let last = timeout(LONG, async {
        loop {
            match probe.ask(&host.context()).await {
                Answer::Healthy(_) | Answer::Unhealthy(_) => disturbed(&mut probe, "the stop").await,
                other => break other,
            }
        }
    });
    assert_eq!(last.await.expect("in time"), Answer::Died("inactive (dead)".to_owned()));
}
