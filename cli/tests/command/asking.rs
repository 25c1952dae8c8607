//! Who is asked, what refusals look like, and the exit codes.

use baton_model::outcome::Fault;

use crate::{
    coordinator::{Coordinator, Script, World},
    documents,
};

#[test]
fn a_follower_leads_to_the_leader() {
    let world = World::new();
    let leader = Coordinator::start(&world, Script { runs: vec![documents::halted()], ..Script::default() });
    let follows = Some(Some(leader.address.clone()));
    let follower = Coordinator::start(&world, Script { follows, ..Script::default() });
    let shown = world.run(&[&follower], &["show", "pom-17"]).expect(0).stdout;
    assert!(shown.starts_with("pom-17  switchover of pom"), "{shown}");
    let runs = world.run(&[&follower], &["runs", "-o", "json"]).expect(0).stdout;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&runs).unwrap()[0]["id"], "pom-17");
}

#[test]
fn nobody_and_nobody_who_leads_are_told_apart() {
    let world = World::new();
    let mut dead = Coordinator::start(&world, Script::default());
    dead.die();
    let gone = world.run(&[&dead], &["runs", "--timeout", "1s"]).expect(6);
    assert!(gone.stderr.starts_with("BTN-0803 no coordinator can be reached (127.0.0.1:"), "{}", gone.stderr);
    let headless = Coordinator::start(&world, Script { follows: Some(None), ..Script::default() });
    let nobody = world.run(&[&headless, &dead], &["runs", "--timeout", "1s"]).expect(6);
    assert!(nobody.stderr.starts_with("BTN-0804 coordinators answer, but none leads"), "{}", nobody.stderr);
}

#[test]
fn refusals_have_their_exit_codes_and_are_json_where_json_is_wanted() {
    let world = World::new();
    let fault =
        Fault::new("BTN-0101", "group pom is busy: run pom-16 is open.", "Watch it with \"baton watch pom-16\".");
    let busy = Coordinator::start(&world, Script { refuses: Some(fault), ..Script::default() });
    let refused = world.run(&[&busy], &["plan", "pom", "switchover"]).expect(5);
    let line = "BTN-0101 group pom is busy: run pom-16 is open. Watch it with \"baton watch pom-16\".\n";
    assert_eq!((refused.stdout.as_str(), refused.stderr.as_str()), ("", line));
    let json = world.run(&[&busy], &["-o", "json", "abort", "pom-17"]).expect(5).stderr;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["error"]["remedy"], "Watch it with \"baton watch pom-16\".");
    let empty = Coordinator::start(&world, Script::default());
    assert!(world.run(&[&empty], &["show", "pom-99"]).expect(4).stderr.starts_with("BTN-0111 "));
    assert!(world.run(&[&empty], &["plan", "x", "y"]).expect(4).stderr.starts_with("BTN-0110 "));
}

#[test]
fn a_word_on_a_run_goes_as_it_was_said() {
    let world = World::new();
    let leader = Coordinator::start(&world, Script { runs: vec![documents::halted()], ..Script::default() });
    let arguments = ["skip", "pom-17", "2", "--host", "db2", "--reason", "done by hand"];
    let said = world.run(&[&leader], &arguments).expect(0);
    assert!(said.stdout.contains("halted: step 2 failed on db2"), "{}", said.stdout);
    let script = leader.script.lock().unwrap();
    let act = &script.acts[0];
    let words = [&act.verb, &act.run, &act.step, &act.host, &act.reason].map(String::as_str);
    assert_eq!(words, ["skip", "pom-17", "2", "db2", "done by hand"]);
    assert_eq!(act.request_id.len(), 32);
}
