//! The group of such a world and its runbooks, as an operator would write them: one exclusive component, a lease, failing over by itself.
//!
//! Times are as short as a small machine bears, so that fifty failovers take minutes.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;

use super::{
    component,
    network::{HOSTS, address},
};

pub const GROUP: &str = "svc";
/// The member of each host.
pub const MEMBERS: [&str; 2] = ["a", "b"];

/// The lease's `stop_within`, in every pace.
pub const STOP_WITHIN: Duration = Duration::from_secs(1);

/// Begins the component in a session of its own, and goes when it writes: the agent ends what a program of its leaves in its session.
const START: &str = r#"#!/bin/sh
size() { cat "$1/record" 2>/dev/null | wc -c; }
before=$(size "$2")
env -i setsid "$1" exclusive-component "$2" "$3" "$4" </dev/null >>"$2/output" 2>&1 &
for _ in $(seq 200); do
  [ "$(size "$2")" != "$before" ] && exit 0
  sleep 0.02
done
exit 1
"#;

/// An effect that can be counted: one line for each time.
const NOTE: &str = "runbook: note
steps:
  - name: Note it
    on: old.service
    timeout: 20s
    exec.run: { argv: [/bin/sh, -c, 'echo noted >>\"$0/notes\"', \"${host.vars.directory}\"] }
";

/// The failover's own note, on the side that it leaves; out of reach, it is left out.
const FAREWELL: &str = "  - name: Note that it leaves
    on: old.service
    timeout: 2s
    unreachable: skip
    exec.run: { argv: [/bin/sh, -c, 'echo left >>\"$0/farewells\"', \"${host.vars.directory}\"], repeatable: true }
";

/// Times of a group, and how its component is asked.
#[derive(Debug, Clone)]
pub struct Pace {
    pub lease: String,
    pub automatic: String,
    pub every: String,
    pub asked: Asked,
}

/// What tells of the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The kernel: its death is noticed at once.
    Process,
    /// Its port, and so only the next question.
    Port,
}

impl Default for Pace {
    fn default() -> Self {
        // Longer than it takes to see that a host is gone: who does not wait for its end is caught.
        Self {
            lease: "{ lasts: 4s, stop_within: 1s }".to_owned(),
            automatic: "for: 500ms, grace: 1s, cooldown: 1s".to_owned(),
            every: "500ms".to_owned(),
            asked: Asked::Process,
        }
    }
}

/// Steps that start it on the hosts of `on` with the epoch of this expression.
fn start(on: &str, epoch: &str) -> String {
    format!(
        "  - name: Start it
    on: {on}.service
    timeout: 20s
    exec.run: {{ argv: [/bin/sh, \"${{vars.start}}\", \"${{vars.helper}}\", \"${{host.vars.directory}}\", \"${{host.name}}\", \"{epoch}\"], repeatable: true }}
  - name: It answers
    on: {on}.service
    timeout: 10s
    wait.tcp: {{ host: 127.0.0.1, port: {}, every: 100ms }}
",
        component::PORT
    )
}

fn stop(unreachable: &str) -> String {
    format!(
        "  - name: Stop it
    on: old.service
    timeout: 5s
    unreachable: {unreachable}
    process.stop: {{ program: \"${{vars.helper}}\", arguments_contain: \"{} ${{host.vars.directory}} \", grace: 1s, settle: 1ms }}
",
        component::SUBCOMMAND
    )
}

/// Writes the files into `files`. Each host's component lives in the folder of its name in `root`.
pub fn write(files: &Path, root: &Path, helper: &Path, pace: &Pace) -> Result<()> {
    fs::create_dir_all(files)?;
    let write = |name: &str, text: &str| fs::write(files.join(name), text);
    write("start.sh", START)?;
    let next = "${string(group.epoch + 1)}";
    let transfer = "  - role.transfer: { detach_old: false }\n";
    let failover = format!("runbook: failover\nsteps:\n{FAREWELL}{}{transfer}{}", stop("skip"), start("new", next));
    write("failover.yaml", &failover)?;
    let rearm = "  - automatic.rearm: {}\n";
    let switchback = format!("runbook: switchback\nsteps:\n{}{transfer}{}{rearm}", stop("fail"), start("new", next));
    write("switchback.yaml", &switchback)?;
    write("start.yaml", &format!("runbook: start\nsteps:\n{}", start("old", "${string(group.epoch)}")))?;
    write("note.yaml", NOTE)?;
    let mut text = format!("group: {GROUP}\ndescription: one that must not run twice\nprimary: a\nmembers:\n");
    for (member, host) in MEMBERS.iter().zip(HOSTS) {
        text += &format!("  {member}: {{ hosts: {{ service: {host} }} }}\n");
    }
    text += "hosts:\n";
    for host in HOSTS {
        let (address, directory) = (address(host), root.join(host));
        text += &format!("  {host}: {{ address: {address}, vars: {{ directory: {directory:?} }} }}\n");
    }
    let itself = format!(
        "program: \"${{vars.helper}}\", arguments_contain: \"{} ${{host.vars.directory}} \"",
        component::SUBCOMMAND
    );
    let probe = match pace.asked {
        Asked::Process => format!("    probe: {{ process: {{ {itself} }} }}\n"),
        Asked::Port => format!(
            "    probe: {{ tcp: {{ host: 127.0.0.1, port: {} }} }}\n    stop: {{ process.stop: {{ {itself}, grace: 2s, settle: 1ms }} }}\n",
            component::PORT
        ),
    };
    text += &format!(
        "vars: {{ helper: {helper:?}, start: {:?} }}
components:
  service:
    on: service
{probe}    exclusive: true
    every: {}
    timeout: 1s
    checks: 1
lease: {}
automatic: {{ mode: on, any: [service], {}, runbook: failover }}
runbooks: {{ failover: failover.yaml, switchback: switchback.yaml, start: start.yaml, note: note.yaml }}
",
        files.join("start.sh"),
        pace.every,
        pace.lease,
        pace.automatic,
    );
    write("group.yaml", &text)?;
    Ok(())
}
