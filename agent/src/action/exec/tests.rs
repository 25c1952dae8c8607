//! Real programs: exit codes, deadlines, grandchildren, pipes that stay open.

use std::time::Duration;

use baton_model::outcome::Observation;
use serde_json::json;
use tokio::time::Instant;

use crate::action::Failure;
use crate::action::trial::{Trial, action, wait_for};
use crate::host::processes;

const LONG: Duration = Duration::from_secs(20);

fn alive(pid_file: &std::path::Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    processes::look(pid).is_some()
}

#[tokio::test]
async fn a_program_gets_its_arguments_and_environment_and_nothing_of_the_agents() {
    let trial = Trial::new();
    let script = trial.script("show", "echo \"$1|$2|$GIVEN|$CARGO_MANIFEST_DIR|$PWD\"; cat");
    let run = action(
        "exec.run",
        json!({ "argv": [script, "a b", "$HOME;`x`"], "environment": { "GIVEN": "yes" }, "directory": "/tmp", "stdin": "from stdin" }),
    );
    let context = trial.context("1", LONG);
    let effect = run.act(&context).await.unwrap();
    assert_eq!(effect.data, json!({ "exit_code": 0 }));
    assert_eq!(context.output().finish().0.head, "a b|$HOME;`x`|yes||/tmp\nfrom stdin");
}

#[tokio::test]
async fn an_exit_code_is_a_failure_unless_it_was_expected() {
    let trial = Trial::new();
    let script = trial.script("fail", "exit 3");
    let fault = action("exec.run", json!({ "argv": [script] })).act(&trial.context("1", LONG)).await.unwrap_err();
    assert!(
        matches!(&fault, Failure::Failed(fault) if fault.code == "BTN-0533" && fault.message.contains("exit code 3")),
        "{fault}"
    );
    let expected = action("exec.run", json!({ "argv": [script], "exit_codes": [0, 3] }));
    assert_eq!(expected.act(&trial.context("1", LONG)).await.unwrap().data, json!({ "exit_code": 3 }));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_certain_failure() {
    let trial = Trial::new();
    let absent = trial.path("absent");
    let failure = action("exec.run", json!({ "argv": [absent] })).act(&trial.context("1", LONG)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Failed(fault) if fault.message.contains("absent")), "{failure}");
    let relative = baton_model::action::Action::parse("exec.run", &json!({ "argv": ["ls"] })).unwrap();
    assert_eq!(crate::action::bind(&relative).err().unwrap().code, "BTN-0531");
}

#[tokio::test]
async fn at_the_deadline_the_program_and_its_grandchildren_go_even_if_they_ignore_term() {
    let trial = Trial::new();
    let stubborn = "trap '' TERM; echo $BASHPID > $1; while :; do sleep 0.05; done";
    let script = trial.script(
        "stubborn",
        &format!("d=${{0%/*}}; ( set -- $d/child.pid; {stubborn} ) & set -- $d/own.pid; {stubborn}"),
    );
    let (own, child) = (trial.path("own.pid"), trial.path("child.pid"));
    let context = trial.context("1", Duration::from_millis(500));
    let begun = Instant::now();
    let failure = action("exec.run", json!({ "argv": [script] })).act(&context).await.unwrap_err();
    assert!(matches!(&failure, Failure::Unclear(_)), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    wait_for(|| !alive(&own) && !alive(&child)).await;
}

#[tokio::test]
async fn a_program_that_is_cancelled_is_ended() {
    let trial = Trial::new();
    let script = trial.script("slow", "echo $$ > ${0%/*}/own.pid; exec sleep 1000");
    let (run, context, own) =
        (action("exec.run", json!({ "argv": [script] })), trial.context("1", LONG), trial.path("own.pid"));
    let (failure, ()) = tokio::join!(run.act(&context), async {
        wait_for(|| std::fs::read_to_string(&own).is_ok_and(|text| text.ends_with('\n'))).await;
        trial.cancel.cancel();
    });
    assert!(matches!(failure.unwrap_err(), Failure::Unclear(_)));
    assert!(!alive(&own));
}

#[tokio::test]
async fn a_daemon_that_keeps_the_pipe_open_does_not_hold_up_the_step() {
    let trial = Trial::new();
    let daemon = "trap : PIPE; echo $BASHPID > $0/daemon.pid; until [ -e $0/go ]; do sleep 0.02; done; echo said && echo more && touch $0/lives; exec sleep 1000";
    let script = trial.script("start", &format!("d=${{0%/*}}; setsid bash -c '{daemon}' $d & while [ ! -s $d/daemon.pid ]; do sleep 0.01; done; echo started"));
    let context = trial.context("1", LONG);
    let begun = Instant::now();
    action("exec.run", json!({ "argv": [script] })).act(&context).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for the daemon: {:?}", begun.elapsed());
    assert!(context.output().finish().0.head.contains("started"));
    let pid_file = trial.path("daemon.pid");
    assert!(alive(&pid_file));
    // It prints after the task is over, and lives on.
    drop(context);
    trial.file("go", "");
    let lives = trial.path("lives");
    wait_for(|| lives.exists() || !alive(&pid_file)).await;
    assert!(lives.exists() && alive(&pid_file), "it was ended for what it printed");
    let pid = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    let seen = processes::look(pid).unwrap();
    processes::Held::hold(&seen).unwrap().unwrap().signal(rustix::process::Signal::KILL).unwrap();
}

/// A performance that is given up is dropped: nothing of it may go on.
#[tokio::test]
async fn a_program_that_nobody_waits_for_any_more_goes_with_all_that_it_started() {
    let trial = Trial::new();
    let script = trial.script("both", "d=${0%/*}; sleep 1000 & echo $! > $d/child.pid; echo $$ > $d/own.pid; wait");
    let (own, child) = (trial.path("own.pid"), trial.path("child.pid"));
    let (run, context) = (action("exec.run", json!({ "argv": [script] })), trial.context("1", LONG));
    tokio::select! {
        ended = run.act(&context) => panic!("it goes on: {ended:?}"),
        () = wait_for(|| std::fs::read_to_string(&own).is_ok_and(|text| text.ends_with('\n'))) => {}
    }
    wait_for(|| !alive(&own) && !alive(&child)).await;
}

#[tokio::test]
async fn creates_and_unless_are_what_is_observed() {
    let trial = Trial::new();
    let context = trial.context("1", LONG);
    let made = trial.path("made");
    let script = trial.script("make", "touch ${0%/*}/made");
    let by_path = action("exec.run", json!({ "argv": [script], "creates": made }));
    let test = json!({ "argv": ["/usr/bin/test", "-e", made] });
    let by_program = action("exec.run", json!({ "argv": [script], "unless": test }));
    let bare = action("exec.run", json!({ "argv": [script] }));
    for run in [&by_path, &by_program] {
        assert!(matches!(run.observe(&context).await.unwrap(), Observation::Differs { .. }));
    }
    by_path.act(&context).await.unwrap();
    for run in [&by_path, &by_program] {
        assert!(matches!(run.observe(&context).await.unwrap(), Observation::InPlace { .. }));
    }
    assert!(matches!(bare.observe(&context).await.unwrap(), Observation::CannotTell { .. }));
    assert_eq!((bare.repeatable(), by_path.repeatable(), by_program.repeatable()), (false, true, true));
    // A condition is no word of the author's that twice does no harm.
    assert!(!bare.repeatable_blind() && !by_path.repeatable_blind() && !by_program.repeatable_blind());
    let word = action("exec.run", json!({ "argv": [script], "unless": test, "repeatable": true }));
    assert!(word.repeatable_blind());
}

#[tokio::test]
async fn another_user_means_that_users_rights_and_groups() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let trial = Trial::new();
    let run =
        action("exec.run", json!({ "argv": ["/bin/bash", "-c", "id -u; id -G; echo $HOME; umask"], "user": "nobody" }));
    let context = trial.context("1", LONG);
    run.act(&context).await.unwrap();
    let nobody = crate::host::users::by_name("nobody").unwrap();
    let output = context.output().finish().0.head;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], nobody.uid.to_string());
    assert!(!lines[1].split(' ').any(|group| group == "0"), "root's group was kept: {output}");
    assert_eq!(lines[2], nobody.home);
}
