//! As many files open as a process may: what is connected goes on, what is new waits, and all is well when there are more.

use baton_system_tests::{PATIENCE, World, eventually, procedure::HOSTS, stricken::Party};

use super::{finishes, lead, under_way, whole_again};

/// Below what it has open: not one more.
const NONE: u64 = 8;

#[test]
fn a_leader_without_descriptors_goes_on_with_whom_it_has_and_says_that_it_takes_nobody_else() {
    let (mut world, run) = under_way();
    let number = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let party = Party::Coordinator(number);
    let log = party.log(&world).len();
    let before = party.limit_files(&world, NONE);
    // A new caller: an operator. It is not answered by this one, and this one says why.
    let address = world.cluster.coordinator_address(number).to_string();
    let said = world.baton(&["--coordinator", &address, "--timeout", "2s", "status"]);
    assert_eq!(said.code, 6, "nobody was let in: {said:?}");
    party.says(&world, log, &["BTN-0334", "Too many open files", "LimitNOFILE"]);
    // The run goes on over the sessions that it has.
    for gate in ["first", "second", "third"] {
        world.begun(gate, 1);
        world.release(gate);
    }
    eventually("the last effect", || if world.effects("third") == 1 { Ok(()) } else { Err(String::new()) });
    party.limit_files(&world, before);
    whole_again(&mut world);
    lead(&world, number);
    let said = world.baton(&["--coordinator", &address, "status"]);
    assert_eq!(said.code, 0, "it answers again: {said:?}");
    finishes(&world, &run);
    let refusals = party.log(&world).matches("BTN-0334").count();
    assert!(refusals < 10, "it is told now and again, and not each time: {refusals}");
}

#[test]
fn an_agent_without_descriptors_fails_the_task_with_the_reason_and_a_retry_goes_on() {
    let (mut world, run) = under_way();
    let party = Party::Agent("db2");
    let before = party.limit_files(&world, NONE);
    world.release("first");
    let view = world.until(&run, "is halted", |view| view["phase"] == "halted");
    let fault = &view["steps"][1]["tasks"][0]["fault"];
    let told = fault.to_string();
    assert!(told.contains("BTN-04") && told.contains("Too many open files"), "{told}");
    assert!(fault["remedy"].as_str().is_some_and(|remedy| remedy.contains("LimitNOFILE")), "{told}");
    assert_eq!(world.effects("second"), 0);
    party.limit_files(&world, before);
    assert!(party.ended(&mut world).is_none(), "it waits for better times");
    world.ready(&HOSTS);
    retry(&world, &run);
    finishes(&world, &run);
}

fn retry(world: &World, run: &str) {
    let said = world.baton(&["retry", run]);
    assert_eq!(said.code, 0, "{said:?}");
}
