//! The sample configuration and policy that are shipped can be used, and allow what the shipped runbooks need.

use std::path::Path;

use baton_agent::{configuration::Configuration, policy::Policy};

const AGENT: &str = include_str!("../../deploy/samples/agent.toml");
const POLICY: &str = include_str!("../../deploy/samples/policy.toml");

#[test]
fn the_sample_is_usable_and_so_is_every_line_that_it_offers() {
    // A line that is offered begins with "# key = ".
    let offered = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() > 3 && words[0] == "#" && words[2] == "="
    };
    assert_eq!(AGENT.lines().filter(offered).count(), 7, "lines that are offered");
    let all: String =
        AGENT.lines().map(|line| if offered(&line) { &line[2..] } else { line }).collect::<Vec<_>>().join("\n");
    for text in [AGENT, &all] {
        let read: Configuration = baton_platform::config::parse(text, Path::new("agent.toml")).expect("read");
        read.check().expect("usable");
        assert_eq!(read.coordinators.len(), 3);
    }
    let read: Configuration = baton_platform::config::parse(&all, Path::new("agent.toml")).expect("read");
    assert!(read.init_scripts.is_some() && read.bus.is_some() && read.log.file.is_some());
    assert!(read.secret_places(None).command.is_some());
}

#[test]
fn the_sample_policy_allows_an_appliances_own_things_and_nothing_beside_them() {
    let policy = Policy::parse(Path::new("/etc/baton/policy.toml"), POLICY).expect("a policy");
    for service in ["dtService", "av-manager", "diagnose"] {
        policy.check_service(service).expect("allowed");
    }
    for path in
        ["release/active/conf/fdb.properties", "release/active/edb.properties", "release/active/avdb.properties"]
    {
        policy.check_path(&format!("/usr/local/desktone/{path}")).expect("allowed");
    }
    policy.check_path("/usr/local/xmpms/diagnose/config/application.properties").expect("allowed");
    for script in ["av-setup", "start_slon_fdb.sh", "start_slon_edb.sh", "start_slon_avdb.sh"] {
        policy.check_program(&format!("/usr/local/desktone/scripts/{script}")).expect("allowed");
    }
    for process in ["slon", "slon_watchdog"] {
        policy.check_process(process).expect("allowed");
    }
    policy.check_program("/bin/grep").expect("allowed");
    for secret in ["slony", "database"] {
        policy.check_secret(secret).expect("allowed");
    }
    for database in ["fdb", "edb", "avdb"] {
        policy.check_database("10.0.0.11", 5432, database).expect("allowed");
    }
    assert!(policy.check_service("sshd").is_err());
    assert!(policy.check_path("/etc/shadow").is_err());
    assert!(policy.check_program("/bin/sh").is_err());
    assert!(policy.check_process("postgres").is_err());
    assert!(policy.check_database("10.0.0.11", 5432, "postgres").is_err());
    assert!(policy.check_user("root").is_err());
}
