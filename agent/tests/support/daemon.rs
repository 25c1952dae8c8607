//! A component to watch: a process of its own, that a person or an order may start, and a group that it belongs to.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use baton_model::{
    assignment::{Assignment, Part, Stop, Watched},
    group::{ComponentProbe, Lease},
    ids::Epoch,
    time::Span,
};
use serde_json::json;

use super::support::world::World;

/// A program that does nothing, and says so for ever.
pub struct Daemon {
    script: PathBuf,
    started: Vec<Child>,
}

impl Daemon {
    pub fn new(world: &mut World, name: &str) -> Self {
        Self::running(world, name, "")
    }

    /// One that TERM does not end.
    pub fn stubborn(world: &mut World, name: &str) -> Self {
        Self::running(world, name, "trap '' TERM\n")
    }

    fn running(world: &mut World, name: &str, first: &str) -> Self {
        let script = world.directory.path().canonicalize().expect("real").join(name);
        // It waits without a fork, which would be a second process of the same program.
        let waits = "[ -p $0.fifo ] || mkfifo $0.fifo; exec 3<> $0.fifo\nwhile :; do read -t 0.05 <&3; done";
        let text = format!("#!/bin/bash\n{first}{waits}\n");
        std::fs::write(&script, text).expect("written");
        world.policy = world.policy.replace("programs = [", &format!("programs = ['{}', ", script.display()));
        Self { script, started: Vec::new() }
    }

    /// As somebody does it by hand; its number.
    pub fn start(&mut self) -> u32 {
        let mut command = Command::new("/bin/bash");
        let child = command.arg(&self.script).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("started");
        let pid = child.id();
        self.started.push(child);
        pid
    }

    pub fn kill(&mut self) {
        for child in &mut self.started {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Whether any that was started still runs.
    pub fn runs(&mut self) -> bool {
        self.started.iter_mut().any(|child| child.try_wait().expect("a child").is_none())
    }

    pub fn watched(&self, every: Span) -> Watched {
        let selector = json!({ "arguments_contain": self.script });
        let mut stop = selector.clone();
        stop["program"] = json!(self.script);
        stop["grace"] = json!("500ms");
        stop["settle"] = json!("0s");
        Watched {
            component: self.script.file_name().unwrap().to_str().unwrap().parse().expect("a name"),
            probe: Ok(ComponentProbe::Process(serde_json::from_value(selector).expect("a selector"))),
            every,
            timeout: Span::from_secs(2),
            checks: 3,
            exclusive: true,
            stop: Some(Stop { action: "process.stop".into(), params: stop }),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for child in &mut self.started {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Group `g` in epoch 3, as this host is told of it.
pub fn assignment(part: Part, index: u64, lease: Option<Lease>, components: Vec<Watched>) -> Assignment {
    let (group, member) = ("g".parse().expect("a name"), "m".parse().ok());
    Assignment { group, epoch: Epoch(3), index, member, part, lease, components }
}

pub fn lease(lasts_ms: u64) -> Option<Lease> {
    Some(Lease { lasts: Span(lasts_ms), stop_within: Span::from_secs(3) })
}
