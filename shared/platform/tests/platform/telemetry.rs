//! The log of a process, set up as `main` does. In processes of their own: it is set up once.

use std::path::Path;
use std::process::{Command, Output};

use baton_platform::telemetry::{self, FILTER_VARIABLE, LogFormat, LogOptions, LogTarget};

/// What the child logs to, and that it is the child.
const LOG: &str = "BATON_TEST_LOG";

fn child(filter: Option<&str>, log: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["telemetry::the_log_goes_where_and_as_it_was_asked_to", "--exact", "--nocapture"]).env(LOG, log);
    match filter {
        Some(filter) => command.env(FILTER_VARIABLE, filter),
        None => command.env_remove(FILTER_VARIABLE),
    };
    command.output().unwrap()
}

fn speak(log: &str) {
    let options = match log {
        "" => LogOptions::default(),
        path => LogOptions {
            format: LogFormat::Json,
            target: LogTarget::File(Path::new(path).into()),
            ..LogOptions::default()
        },
    };
    if let Err(error) = telemetry::init(&options) {
        eprintln!("{error}");
        return;
    }
    tracing::debug!("whispered");
    tracing::info!(run = "pom-17", "said aloud");
    eprintln!("again: {}", telemetry::init(&options).unwrap_err());
}

#[test]
fn the_log_goes_where_and_as_it_was_asked_to() {
    if let Ok(log) = std::env::var(LOG) {
        return speak(&log);
    }
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let plain = child(None, "");
    let stderr = text(plain.stderr);
    assert!(stderr.contains(" INFO ") && stderr.contains("said aloud") && stderr.contains("pom-17"), "{stderr}");
    assert!(!stderr.contains("whispered") && !stderr.contains('\u{1b}'), "{stderr}");
    assert!(stderr.contains("again: BTN-0333"), "{stderr}");
    assert!(!text(plain.stdout).contains("said aloud"), "stdout belongs to data");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("baton.log");
    for _ in 0..2 {
        let json = child(Some("debug"), path.to_str().unwrap());
        assert!(!text(json.stderr).contains("said aloud"));
    }
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 4, "appended, not replaced: {log}");
    assert!(lines[0].starts_with('{') && lines[0].contains("\"message\":\"whispered\""), "{log}");
    assert!(lines[1].contains("\"run\":\"pom-17\"") && lines[1].ends_with('}'), "{log}");

    let wrong = text(child(Some("info,baton=lowd"), "").stderr);
    assert!(wrong.contains("BTN-0331") && wrong.contains("baton=lowd"), "{wrong}");
    let nowhere = text(child(None, "/nonexistent/baton.log").stderr);
    assert!(nowhere.contains("BTN-0332 cannot open the log file /nonexistent/baton.log"), "{nowhere}");
}
