//! Real scripts that start real processes. (systemd itself: the system tests boot one.)

use std::time::Duration;

use baton_model::outcome::Observation;
use serde_json::{Value, json};

use crate::action::trial::{Trial, action};
use crate::action::{Failure, Perform};

const LONG: Duration = Duration::from_secs(20);

/// A SysV script with a process of its own, and its remains ended.
struct Product(Trial);

impl Product {
    fn new(run: &str) -> Self {
        let mut trial = Trial::new();
        trial.host.init_scripts = trial.path("");
        let body = r#"d=${0%/*}; p=$d/pid
running() { [ -s $p ] && grep -q '^State:.[^Z]' /proc/$(cat $p)/status 2>/dev/null; }
echo $1 >> $d/asked
case $1 in
start) running && exit 0; RUN ;;
stop) running && kill $(cat $p); n=0; while running && [ $n -lt 500 ]; do sleep 0.01; n=$((n+1)); done; rm -f $p ;;
status) [ -e $d/broken ] && exit 4; running || exit 3; echo is running ;;
esac
exit 0"#;
        trial.script("pom", &body.replace("RUN", run));
        Self(trial)
    }
    fn lasting() -> Self {
        Self::new("setsid sleep 1000 >/dev/null 2>&1 & echo $! > $p")
    }
    fn action(&self, name: &str, more: Value) -> Box<dyn Perform> {
        let mut params = json!({ "name": "pom", "manager": "sysv" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        action(name, params)
    }
    fn asked(&self, verb: &str) -> usize {
        std::fs::read_to_string(self.0.path("asked")).unwrap_or_default().lines().filter(|line| *line == verb).count()
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.0.path("pid")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(seen) = pid.and_then(crate::host::processes::look)
            && let Ok(Some(held)) = crate::host::processes::Held::hold(&seen)
        {
            let _ = held.signal(rustix::process::Signal::KILL);
        }
    }
}

fn code(failure: &Failure) -> &str {
    match failure {
        Failure::Failed(fault) | Failure::Unclear(fault) => &fault.code,
    }
}

#[tokio::test]
async fn a_service_is_started_and_stopped_and_each_is_seen_before_it_is_believed() {
    let product = Product::lasting();
    let context = product.0.context("1", LONG);
    let (start, stop) = (product.action("service.start", json!({})), product.action("service.stop", json!({})));
    assert!(matches!(stop.observe(&context).await.unwrap(), Observation::InPlace { .. }));
    assert!(matches!(start.observe(&context).await.unwrap(), Observation::Differs { .. }));
    start.act(&context).await.unwrap();
    assert!(
        matches!(start.observe(&context).await.unwrap(), Observation::InPlace { note } if note.contains("is running"))
    );
    product.action("service.running", json!({})).act(&context).await.unwrap();
    let failure = product.action("service.stopped", json!({})).act(&context).await.unwrap_err();
    assert_eq!(code(&failure), "BTN-0507");
    stop.act(&context).await.unwrap();
    assert!(matches!(stop.observe(&context).await.unwrap(), Observation::InPlace { .. }));
    assert_eq!((product.asked("start"), product.asked("stop")), (1, 1));
}

#[tokio::test]
async fn unknown_is_neither_running_nor_stopped() {
    let product = Product::lasting();
    product.0.file("broken", "");
    let context = product.0.context("1", LONG);
    for name in ["service.start", "service.stop"] {
        assert!(matches!(
            product.action(name, json!({})).observe(&context).await.unwrap(),
            Observation::CannotTell { .. }
        ));
    }
    for name in ["service.running", "service.stopped"] {
        assert_eq!(code(&product.action(name, json!({})).act(&context).await.unwrap_err()), "BTN-0506");
    }
}

#[tokio::test]
async fn a_name_that_is_not_there_is_not_taken_for_a_stopped_service() {
    let product = Product::lasting();
    let context = product.0.context("1", LONG);
    let stop = action("service.stop", json!({ "name": "pim", "manager": "sysv" }));
    assert_eq!(stop.observe(&context).await.unwrap_err().code, "BTN-0502");
    let path = baton_model::action::Action::parse("service.stop", &json!({ "name": "../pom" })).unwrap();
    assert_eq!(crate::action::bind(&path).err().unwrap().code, "BTN-0508");
}

#[tokio::test]
async fn a_service_that_ends_right_after_its_start_is_a_failure() {
    let product = Product::new("setsid sleep 0.15 >/dev/null 2>&1 & echo $! > $p");
    let failure = product.action("service.start", json!({})).act(&product.0.context("1", LONG)).await.unwrap_err();
    assert!(code(&failure) == "BTN-0503" && failure.to_string().contains("at once"), "{failure}");
}

#[tokio::test]
async fn a_stop_that_does_not_stop_is_a_failure_at_the_deadline() {
    let product = Product::lasting();
    product.action("service.start", json!({})).act(&product.0.context("1", LONG)).await.unwrap();
    let lazy = json!({ "argv": ["/bin/true"] });
    let script = product.0.path("pom");
    let status = json!({ "argv": [script, "status"] });
    let stop = action(
        "service.stop",
        json!({ "name": "pom", "manager": { "commands": { "start": lazy, "stop": lazy, "status": status } } }),
    );
    let failure = stop.act(&product.0.context("2", Duration::from_millis(400))).await.unwrap_err();
    assert_eq!(code(&failure), "BTN-0504");
}

#[tokio::test]
async fn readiness_is_waited_for_and_told() {
    let product = Product::lasting();
    let test = json!({ "command": { "argv": ["/usr/bin/test", "-e", product.0.path("ready")] } });
    let start = product.action("service.start", json!({ "ready": { "probe": test, "within": "15s" } }));
    let (context, mut notes) = product.0.context_with_notes("1", LONG);
    let (effect, ()) = tokio::join!(start.act(&context), async {
        assert_eq!(notes.recv().await.unwrap().note, "starting pom");
        assert!(notes.recv().await.unwrap().note.contains("not ready yet"));
        product.0.file("ready", "");
    });
    effect.unwrap();
    std::fs::remove_file(product.0.path("ready")).unwrap();
    assert!(
        matches!(start.observe(&context).await.unwrap(), Observation::Differs { change } if change.contains("wait until it is ready"))
    );
    let hasty = product.action("service.start", json!({ "ready": { "probe": test, "within": "300ms" } }));
    assert_eq!(code(&hasty.act(&context).await.unwrap_err()), "BTN-0505");
    assert_eq!(product.asked("start"), 1, "it ran, so only its readiness was waited for");
}

#[tokio::test]
async fn the_services_that_a_service_brings_up_are_waited_for_by_name() {
    let product = Product::lasting();
    for part in ["director", "manager"] {
        product.0.script(part, "[ -e ${0%/*}/up-PART ] || exit 3; echo runs".replace("PART", part).as_str());
    }
    product.0.file("up-director", "");
    let ready = json!({ "services": ["director", "manager"], "within": "15s" });
    let start = product.action("service.start", json!({ "ready": ready }));
    let (context, mut notes) = product.0.context_with_notes("1", LONG);
    let (effect, ()) = tokio::join!(start.act(&context), async {
        notes.recv().await.unwrap();
        let told = notes.recv().await.unwrap().note;
        assert!(told.contains("manager is ") && !told.contains("director"), "{told}");
        product.0.file("up-manager", "");
    });
    effect.unwrap();
    let running = product.action("service.running", json!({ "ready": ready }));
    assert!(matches!(running.observe(&context).await.unwrap(), Observation::InPlace { .. }));
    std::fs::remove_file(product.0.path("up-director")).unwrap();
    assert_eq!(code(&running.act(&context).await.unwrap_err()), "BTN-0507");
}

#[tokio::test]
async fn a_restart_cannot_be_observed_and_is_never_repeated() {
    let product = Product::lasting();
    let context = product.0.context("1", LONG);
    product.action("service.start", json!({})).act(&context).await.unwrap();
    let before = std::fs::read_to_string(product.0.path("pid")).unwrap();
    let restart = product.action("service.restart", json!({}));
    assert!(!restart.repeatable());
    assert!(matches!(restart.observe(&context).await.unwrap(), Observation::CannotTell { .. }));
    restart.act(&context).await.unwrap();
    assert_ne!(std::fs::read_to_string(product.0.path("pid")).unwrap(), before);
}

/// Needs a host that runs systemd: `BATON_TEST_SYSTEMD_UNIT=cron cargo nextest run --run-ignored all systemd`.
#[tokio::test]
#[ignore = "needs a host that runs systemd, and a unit that may be stopped"]
async fn systemd_stops_and_starts_a_unit_by_its_jobs() {
    let unit = std::env::var("BATON_TEST_SYSTEMD_UNIT").expect("the name of a unit that may be stopped");
    let trial = Trial::new();
    let context = trial.context("1", Duration::from_secs(60));
    let of = |name: &str| action(name, json!({ "name": unit, "manager": "systemd" }));
    for (act, check) in [("service.stop", "service.stopped"), ("service.start", "service.running")] {
        of(act).act(&context).await.unwrap();
        of(check).act(&context).await.unwrap();
        assert!(matches!(of(act).observe(&context).await.unwrap(), Observation::InPlace { .. }));
    }
    let absent = action("service.stop", json!({ "name": "no-such-unit-here", "manager": "systemd" }));
    assert_eq!(absent.observe(&context).await.unwrap_err().code, "BTN-0502");
}
