//! A folder that may not be written any more. Root is stopped by no mode, so the folder's file system takes no writes.

use baton_system_tests::{
    procedure::HOSTS,
    small_disk::{ReadOnly, can_mount},
    stricken::Party,
};

use super::{finishes, follower, has_everything, under_way, whole_again};

#[test]
fn a_coordinator_that_may_not_write_its_log_says_so_at_its_start_and_comes_back() {
    if !can_mount() {
        return;
    }
    let (mut world, run) = under_way();
    let number = follower(&world);
    let party = Party::Coordinator(number);
    let data = world.cluster.coordinator_directory(number).join("data");
    party.kill(&mut world);
    let lost = ReadOnly::over(&data);
    let file = data.join("log.redb").display().to_string();
    let words = ["BTN-0162", &format!("c{}", number + 1), &file, "Read-only file system", "can be written"];
    party.start(&mut world);
    party.ends_saying(&mut world, &words);
    party.ends_again_saying(&mut world, &words);
    finishes(&world, &run);
    drop(lost);
    party.start(&mut world);
    whole_again(&mut world);
    has_everything(&world, number, &run, "succeeded");
}

#[test]
fn an_agent_that_may_not_write_its_journal_says_so_at_its_start_and_comes_back_without_doing_anything_twice() {
    if !can_mount() {
        return;
    }
    let (mut world, run) = under_way();
    let party = Party::Agent("app1");
    let state = world.cluster.agent_directory("app1").join("state");
    party.kill(&mut world);
    let lost = ReadOnly::over(&state);
    let file = state.join("journal.redb").display().to_string();
    let words = ["BTN-0451", &file, "Read-only file system", "may be written"];
    party.start(&mut world);
    party.ends_saying(&mut world, &words);
    party.ends_again_saying(&mut world, &words);
    drop(lost);
    party.start(&mut world);
    world.ready(&HOSTS);
    finishes(&world, &run);
}

#[test]
fn an_agent_that_loses_its_permission_while_it_runs_fails_the_task_with_the_place_and_a_retry_goes_on() {
    if !can_mount() {
        return;
    }
    let (mut world, run) = under_way();
    let party = Party::Agent("db2");
    // What it has open it may still write; a task's folder it cannot make.
    let lost = ReadOnly::over(&world.cluster.agent_directory("db2").join("state"));
    world.release("first");
    let view = world.until(&run, "is halted", |view| view["phase"] == "halted");
    let fault = &view["steps"][1]["tasks"][0]["fault"];
    assert_eq!(fault["code"], "BTN-0491", "{view}");
    let told = fault.to_string();
    let state = world.cluster.agent_directory("db2").join("state").display().to_string();
    for word in ["Read-only file system", &state, "disk"] {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    assert_eq!(world.effects("second"), 0);
    assert!(party.ended(&mut world).is_none(), "what it has open is as good as before");
    drop(lost);
    let said = world.baton(&["retry", &run]);
    assert_eq!(said.code, 0, "{said:?}");
    finishes(&world, &run);
}
