//! What was shown is what runs: a busy group, and a plan whose group, runbook or epoch moved since.

use baton_platform::identity::Role;
use baton_proto::v1 as pb;
use baton_system_tests::{
    World,
    calls::{operator, told, wish},
    procedure::{HOSTS, define, gate, write},
};
use serde_json::Value;

fn work() -> String {
    format!("runbook: work\nsteps:\n  - name: Work\n    {}", gate("app", "work"))
}
const MOVE: &str = "runbook: switchover\nsteps:\n  - role.transfer: {}\n";

#[test]
fn a_second_run_on_a_busy_group_is_refused() {
    let world = World::start(&HOSTS);
    define(&world, &[("work", &work()), ("switchover", MOVE)]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("work", 1);
    let remedy = format!("baton watch {run}");
    let words = ["shop", run.as_str(), remedy.as_str()];
    world.baton(&["run", "shop", "work", "--yes"]).is_refused("BTN-0101", &words);
    world.baton(&["switchover", "shop", "--to", "b", "--yes"]).is_refused("BTN-0101", &words);
    // Nor may what it runs by be changed under it.
    write(&world, "description: other\n", &[("work", &work()), ("switchover", MOVE)]);
    let said = world.baton(&["apply", &world.path("shop.yaml").display().to_string()]);
    assert_ne!(said.code, 0, "a key twice: {said:?}");
    write(
        &world,
        "windows: { night: { days: [sun], from: '02:30', to: '05:00', time_zone: Europe/Berlin } }\n",
        &[("work", &work())],
    );
    world.baton(&["apply", &world.path("shop.yaml").display().to_string()]).is_refused("BTN-0101", &[&run]);
    world.release("work");
    world.ends(&run, "succeeded");
    assert_eq!((world.effects("work"), world.json(&["status"])["groups"][0]["epoch"].as_u64()), (1, Some(1)));
    let next = world.baton(&["switchover", "shop", "--to", "b", "--yes"]);
    assert_eq!(next.code, 0, "the group is free again: {next:?}");
}

/// Asks for a plan, lets `meanwhile` happen, and starts what was shown.
async fn start_after(world: &World, request: pb::PlanRequest, meanwhile: impl FnOnce()) -> Result<String, String> {
    let identity = world.cluster.operator("operator", Role::Admin).expect("an identity");
    let mut client = operator(&world.cluster, &identity);
    let view = client.plan(request.clone()).await.map_err(|status| told(&status))?.into_inner().document;
    let view: Value = serde_json::from_slice(&view).expect("a document");
    meanwhile();
    let request = pb::StartRequest {
        request_id: "one".to_owned(),
        plan: Some(request),
        digest: view["digest"].as_str().expect("a digest").to_owned(),
        shown: serde_json::to_vec(&view["plan"]).expect("a document").into(),
        ..pb::StartRequest::default()
    };
    let first = client.start(request.clone()).await.map(|reply| reply.into_inner().run).map_err(|status| told(&status));
    let again = client.start(request).await.map(|reply| reply.into_inner().run).map_err(|status| told(&status));
    assert_eq!(first, again, "the same wish has the same answer, and is not done twice");
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_group_runbook_or_epoch_moved_is_refused_with_the_difference() {
    let world = World::start(&HOSTS);
    let runbooks = [("work", work()), ("switchover", MOVE.to_owned())];
    let files: Vec<(&str, &str)> = runbooks.iter().map(|(name, text)| (*name, text.as_str())).collect();
    define(&world, &files);
    world.release("work");

    let refused = start_after(&world, wish("work", ""), || {
        write(
            &world,
            "windows: { night: { days: [sun], from: '02:30', to: '05:00', time_zone: Europe/Berlin } }\n",
            &files,
        );
        world.apply("shop");
    });
    let refused = refused.await.expect_err("refused");
    let has = |words: &[&str]| {
        assert!(refused_has(&refused, words), "{refused}");
    };
    has(&["BTN-0102", "revision 1 of group shop, now 2", "baton plan shop work"]);

    let refused = start_after(&world, wish("work", ""), || {
        world.write("work.yaml", &work().replace("name: Work", "name: Other work"));
        world.apply("shop");
    });
    let refused = refused.await.expect_err("refused");
    assert!(refused_has(&refused, &["BTN-0102", "runbook work with digest", "steps differ: 1"]), "{refused}");

    let refused = start_after(&world, wish("work", ""), || {
        let said = world.baton(&["switchover", "shop", "--to", "b", "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
    });
    let refused = refused.await.expect_err("refused");
    assert!(refused_has(&refused, &["BTN-0102", "when a was primary in epoch 1", "now b is, in epoch 2"]), "{refused}");

    assert_eq!(world.effects("work"), 0, "nothing ran");
    let run = start_after(&world, wish("work", ""), || {}).await.expect("started");
    world.ends(&run, "succeeded");
    assert_eq!(world.effects("work"), 1);
}

fn refused_has(refused: &str, words: &[&str]) -> bool {
    words.iter().all(|word| refused.contains(word))
}
