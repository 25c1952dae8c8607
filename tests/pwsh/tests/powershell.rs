//! `exec.powershell` against the stand-in: what the product sends, and every way in which a cmdlet can fail.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use baton_agent::{
    action::{Context, ContextOptions, Effect, Failure, Perform, bind},
    host::Host,
    policy::{Policy, needs},
    secrets::{Secret, Secrets},
};
use baton_model::{
    action::Action,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const POOL: &str = "atl-cs-001.litwareinc.com";

/// A directory with a shell in it, its topology, and what was called.
struct World(tempfile::TempDir);

struct None;

#[async_trait]
impl Secrets for None {
    async fn secret(&self, name: &str) -> Result<Secret, Fault> {
        Err(Fault::new("BTN-0406", name, ""))
    }
}

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().expect("a directory"));
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_baton-pwsh"), world.path("pwsh")).expect("a link");
        let state = json!({
            "modules": ["Lync"],
            "sql_servers": ["sql-a", "sql-b", "sql-b-mirror"],
            "pools": [{
                "fqdn": POOL, "computers": ["a1", "a2", "b1", "b2"], "active": ["a1", "a2"], "state": "Normal",
                "primary_sql": "sql-a", "backup_sql": "sql-b", "backup_mirror": "sql-b-mirror",
            }],
        });
        fs::write(world.path("lync.json"), state.to_string()).expect("written");
        world
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn state(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("lync.json")).expect("a state")).expect("JSON")
    }
    fn faults(&self, faults: Value) {
        fs::write(self.path("lync-faults.json"), faults.to_string()).expect("written");
    }
    fn calls(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("lync-calls.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
    fn context(&self, timeout: Duration) -> Context {
        Context::new(ContextOptions {
            task: Option::None,
            directory: Option::None,
            run_directory: Option::None,
            policy: Arc::new(Policy::default()),
            secrets: Arc::new(None),
            host: Host::default(),
            timeout,
            cancel: CancellationToken::new(),
            progress: Option::None,
        })
        .expect("a context")
    }
    fn action(&self, mut parameters: Value) -> Box<dyn Perform> {
        parameters["shell"] = json!(self.path("pwsh"));
        parameters["modules"] = parameters.get("modules").cloned().unwrap_or(json!(["Lync"]));
        bind(&Action::parse("exec.powershell", &parameters).expect("parameters")).expect("they make sense")
    }
    async fn observe(&self, action: &dyn Perform) -> Result<Observation, Fault> {
        action.observe(&self.context(Duration::from_secs(30))).await
    }
    async fn act(&self, action: &dyn Perform) -> Result<Effect, Failure> {
        action.act(&self.context(Duration::from_secs(30))).await
    }
}

fn run(cmdlet: &str, parameters: Value) -> Value {
    json!({ "run": { "cmdlet": cmdlet, "parameters": parameters } })
}

/// The pool's state is set, and asked for.
fn fail_over() -> Value {
    json!({
        "run": {
            "cmdlet": "Set-CsPersistentChatState",
            "parameters": { "Identity": format!("service:{POOL}"), "PoolState": "FailedOver", "Confirm": false },
        },
        "get": { "cmdlet": "Get-CsPersistentChatState", "parameters": { "Identity": format!("service:{POOL}") } },
        "expect": "result.PoolState == 'FailedOver'",
    })
}

fn message(failure: &Failure) -> String {
    failure.to_string()
}

#[tokio::test]
async fn a_cmdlet_is_observed_done_and_observed_again() {
    let world = World::new();
    let action = world.action(fail_over());
    let Observation::Differs { change } = world.observe(&*action).await.expect("observed") else { panic!("Normal") };
    assert!(change.contains("\"PoolState\":\"Normal\""), "{change}");
    assert!(change.contains("-PoolState \"FailedOver\""), "{change}");
    world.act(&*action).await.expect("done");
    assert!(matches!(world.observe(&*action).await, Ok(Observation::InPlace { .. })));
    assert_eq!(world.state()["pools"][0]["state"], "FailedOver");
    let names: Vec<Value> = world.calls().iter().map(|call| call["cmdlet"].clone()).collect();
    assert_eq!(names, ["Get-CsPersistentChatState", "Set-CsPersistentChatState", "Get-CsPersistentChatState"]);
}

#[tokio::test]
async fn the_procedure_goes_forwards_and_back() {
    let world = World::new();
    let identity = format!("PersistentChatServer:{POOL}");
    let steps = [
        ("Set-CsPersistentChatState", json!({ "Identity": identity, "PoolState": "FailedOver", "Confirm": false })),
        (
            "Install-CsMirrorDatabase",
            json!({ "DatabaseType": "PersistentChat", "FileShare": "\\\\b\\share", "SqlServerFqdn": "sql-b", "Confirm": false }),
        ),
        (
            "Set-CsPersistentChatActiveServer",
            json!({ "Identity": identity, "ActiveServers": ["b1", "b2"], "Confirm": false }),
        ),
        ("Set-CsPersistentChatActiveServer", json!({ "Identity": identity, "ActiveServers": null, "Confirm": false })),
        (
            "Uninstall-CsMirrorDatabase",
            json!({ "DatabaseType": "PersistentChat", "SqlServerFqdn": "sql-b", "Confirm": false }),
        ),
        (
            "Set-CsPersistentChatActiveServer",
            json!({ "Identity": identity, "ActiveServers": { "Add": ["a1"] }, "Confirm": false }),
        ),
        ("Set-CsPersistentChatState", json!({ "Identity": identity, "PoolState": "Normal", "Confirm": false })),
    ];
    let mut seen = Vec::new();
    for (cmdlet, parameters) in steps {
        let action = world.action(run(cmdlet, parameters));
        world.act(&*action).await.unwrap_or_else(|failure| panic!("{cmdlet}: {failure}"));
        let state = world.state();
        seen.push((state["pools"][0]["active"].clone(), state["mirrors"].as_array().map_or(0, Vec::len)));
    }
    let actives: Vec<Value> = seen.iter().map(|(active, _)| active.clone()).collect();
    let expected = [
        json!(["a1", "a2"]),
        json!(["a1", "a2"]),
        json!(["b1", "b2"]),
        json!([]),
        json!([]),
        json!(["a1"]),
        json!(["a1"]),
    ];
    assert_eq!(actives, expected);
    assert_eq!(seen.iter().map(|(_, mirrors)| *mirrors).collect::<Vec<_>>(), [0, 1, 1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn what_the_real_cmdlets_refuse_is_refused_in_their_words() {
    let world = World::new();
    let identity = json!(format!("service:{POOL}"));
    let cases = [
        ("Get-CsPersistentChatActiveServer", json!({}), "is not recognized as the name of a cmdlet"),
        (
            "Install-CsMirrorDatabase",
            json!({ "DatabaseType": "PersistentChat", "FileShare": "s", "SqlServerFqdn": "sql-b", "Force": true }),
            "A parameter cannot be found that matches parameter name 'Force'",
        ),
        (
            "Set-CsPersistentChatState",
            json!({ "Identity": identity, "PoolState": "Failed", "Confirm": false }),
            "Normal, FailedOver",
        ),
        ("Set-CsPersistentChatState", json!({ "Identity": identity, "PoolState": "Normal" }), "NonInteractive mode"),
        (
            "Set-CsPersistentChatActiveServer",
            json!({ "Identity": identity, "ActiveServers": ["c9"], "Confirm": false }),
            "Cannot find computer \"c9\"",
        ),
        ("Set-CsPersistentChatState", json!({ "Identity": "service:nobody", "Confirm": false }), "Cannot find item"),
        (
            "Uninstall-CsMirrorDatabase",
            json!({ "DatabaseType": "PersistentChat", "SqlServerFqdn": "sql-b", "Confirm": false }),
            "not configured",
        ),
    ];
    for (cmdlet, parameters, expected) in cases {
        let action = world.action(run(cmdlet, parameters));
        let failure = world.act(&*action).await.expect_err("it is refused");
        assert!(matches!(&failure, Failure::Failed(fault) if fault.code == "BTN-0552"), "{failure:?}");
        assert!(message(&failure).contains(expected), "{failure}");
    }
    let mut absent = run("Get-CsService", json!({ "PersistentChatServer": true }));
    absent["modules"] = json!(["SkypeForBusiness"]);
    let failure = world.act(&*world.action(absent)).await.expect_err("no such module");
    assert!(message(&failure).contains("'SkypeForBusiness' was not loaded"), "{failure}");
}

#[tokio::test]
async fn a_non_terminating_error_fails_a_task_that_cannot_be_observed() {
    let world = World::new();
    world.faults(json!([{ "cmdlet": "Set-CsPersistentChatState", "fault": { "is": "non_terminating", "message": "a store is late" } }]));
    let mut parameters = fail_over();
    for key in ["get", "expect"] {
        parameters.as_object_mut().expect("a map").remove(key);
    }
    let failure = world.act(&*world.action(parameters)).await.expect_err("it said an error");
    assert!(matches!(&failure, Failure::Failed(_)), "{failure:?}");
    assert!(message(&failure).contains("a store is late"), "{failure}");
}

#[tokio::test]
async fn an_error_beside_the_effect_is_unclear_and_the_state_is_read_again() {
    let world = World::new();
    world.faults(json!([{ "cmdlet": "Set-CsPersistentChatState", "fault": { "is": "non_terminating", "message": "a store is late" } }]));
    let action = world.action(fail_over());
    assert!(matches!(world.act(&*action).await, Err(Failure::Unclear(_))));
    assert!(matches!(world.observe(&*action).await, Ok(Observation::InPlace { .. })), "the effect is there");

    let world = World::new();
    world.faults(json!([{ "cmdlet": "Set-CsPersistentChatState", "fault": { "is": "terminating", "message": "access denied" } }]));
    let action = world.action(fail_over());
    assert!(matches!(world.act(&*action).await, Err(Failure::Unclear(_))));
    assert!(matches!(world.observe(&*action).await, Ok(Observation::Differs { .. })), "nothing was done");
}

#[tokio::test]
async fn a_shell_that_dies_or_says_nothing_proves_nothing() {
    for (fault, happened) in [("die_before", false), ("die_after", true), ("silent", false)] {
        let world = World::new();
        world.faults(json!([{ "cmdlet": "Set-CsPersistentChatState", "fault": { "is": fault } }]));
        let action = world.action(fail_over());
        let failure = world.act(&*action).await.expect_err("no reply");
        assert!(matches!(&failure, Failure::Unclear(fault) if fault.code == "BTN-0553"), "{fault}: {failure:?}");
        let observed = world.observe(&*action).await.expect("observed");
        assert_eq!(matches!(observed, Observation::InPlace { .. }), happened, "{fault}: {observed:?}");
    }
}

#[tokio::test]
async fn what_a_shell_prints_beside_its_reply_is_output_and_no_answer() {
    let world = World::new();
    world.faults(json!([{ "cmdlet": "Get-CsService", "fault": { "is": "chatty" } }]));
    let effect = world.act(&*world.action(run("Get-CsService", json!({ "PersistentChatServer": true })))).await;
    assert_eq!(effect.expect("answered").data["ActiveServers"], json!(["a1", "a2"]));
}

#[tokio::test]
async fn a_slow_cmdlet_is_ended_with_the_task_and_its_effect_is_not_claimed() {
    let world = World::new();
    world.faults(json!([{ "cmdlet": "Set-CsPersistentChatState", "fault": { "is": "slow", "milliseconds": 60_000 } }]));
    let action = world.action(fail_over());
    let begun = std::time::Instant::now();
    let failure = action.act(&world.context(Duration::from_millis(500))).await.expect_err("its time is over");
    assert!(matches!(failure, Failure::Unclear(_)), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "the shell was ended");
    assert_eq!(world.state()["pools"][0]["state"], "Normal");
}

#[tokio::test]
async fn values_arrive_as_they_are_whatever_is_in_them() {
    let world = World::new();
    for value in
        ["'; Remove-Item C:\\ -Recurse; '", "$(calc)", "2024-01-01T00:00:00Z", "é\u{1F4A5}\n\"", "@DATA@", "$null"]
    {
        let action = world.action(run("Get-CsPersistentChatState", json!({ "Identity": value })));
        let failure = world.act(&*action).await.expect_err("no such pool");
        assert!(message(&failure).contains("Cannot find item"), "{failure}");
        assert_eq!(world.calls().last().expect("called")["parameters"]["Identity"], value);
    }
}

#[tokio::test]
async fn an_expectation_that_has_no_value_says_what_was_found() {
    let world = World::new();
    let mut parameters = fail_over();
    parameters["expect"] = json!("result.Pool == 'x'");
    let fault = world.observe(&*world.action(parameters)).await.expect_err("there is no Pool");
    assert_eq!(fault.code, "BTN-0554");
    assert!(fault.message.contains("\"PoolState\":\"Normal\""), "{fault}");
}

#[test]
fn parameters_that_make_no_sense_are_refused_before_anything_runs() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut parameters = fail_over();
        parameters["shell"] = json!("/opt/pwsh");
        change(&mut parameters);
        let action = Action::parse("exec.powershell", &parameters).expect("parameters");
        bind(&action).err().expect("refused").code
    };
    assert_eq!(refused(&|p| p["shell"] = json!("pwsh")), "BTN-0531");
    assert_eq!(refused(&|p| p["modules"] = json!(["../x"])), "BTN-0551");
    assert_eq!(refused(&|p| p["run"]["cmdlet"] = json!("calc; Get-X")), "BTN-0551");
    assert_eq!(refused(&|p| p["get"]["cmdlet"] = json!("Set-CsPersistentChatState")), "BTN-0551");
    assert_eq!(refused(&|p| p["expect"] = Value::Null), "BTN-0551");
    assert_eq!(refused(&|p| p["expect"] = json!("result ==")), "BTN-0551");
    assert_eq!(refused(&|p| p["run"]["parameters"]["ErrorAction"] = json!("SilentlyContinue")), "BTN-0551");
}

#[test]
fn the_policy_is_asked_for_the_shell_and_for_both_cmdlets() {
    let mut parameters = fail_over();
    parameters["shell"] = json!("/opt/pwsh");
    let action = Action::parse("exec.powershell", &parameters).expect("parameters");
    let check = |policy: &str| {
        let policy = Policy::parse(std::path::Path::new("/policy"), policy).expect("a policy");
        policy.check(&needs(&action)).map_err(|fault| fault.code)
    };
    assert_eq!(check("programs = ['/opt/pwsh']"), Err("BTN-0407".to_owned()));
    assert_eq!(check("programs = ['/opt/pwsh']\ncmdlets = ['Set-CsPersistentChatState']"), Err("BTN-0407".to_owned()));
    assert_eq!(check("cmdlets = ['*-CsPersistentChatState']"), Err("BTN-0403".to_owned()));
    assert_eq!(check("programs = ['/opt/pwsh']\ncmdlets = ['*-CsPersistentChatState']"), Ok(()));
}

#[tokio::test]
async fn the_stand_in_takes_no_other_script() {
    let world = World::new();
    for arguments in [vec!["-Command", "Get-CsService"], vec![], vec!["-NoProfile", "-EncodedCommand", "ZQBjAGgAbwA="]]
    {
        let ended = std::process::Command::new(world.path("pwsh")).args(&arguments).output().expect("it ran");
        assert_eq!(ended.status.code(), Some(64), "{arguments:?}");
    }
    assert!(world.calls().is_empty());
}
