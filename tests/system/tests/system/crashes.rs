//! Whatever is killed, at whatever step: the run goes on by itself to the same end, and nothing happens twice.
//!
//! The programs of the runbook wait in their middle until the test lets them go, so that the kill lands there.

use baton_system_tests::{
    PATIENCE, World,
    procedure::{HOSTS, define, gate},
    world::told,
};
use serde_json::Value;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Leader,
    /// At work: it is restarted at once, and finds what it had started still waiting.
    Agent,
    /// At work: what it had started has its effect before the agent comes back.
    AgentLate,
    Everything,
}

/// Where the run is when it happens. In the order of the runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Step 1, `exec.run` on the old database, in the middle of its program.
    Program,
    /// Step 1 has just been let go: step 2, `file.line`, is being reported, ordered or done.
    File,
    /// Step 3 waits for a person.
    Confirm,
    /// Step 4, two steps together on two hosts, both in the middle.
    Together,
    /// Step 4 has just been let go: the role moves about now.
    Transfer,
    /// Step 6 on the new database, in its middle; the role has moved.
    AfterTransfer,
    /// Step 7 waits until a host that never comes counts as unreachable.
    Unreachable,
}

fn runbook() -> String {
    format!(
        "runbook: switchover
inputs: {{ tag: {{ type: string, required: true }}, ghost: {{ type: boolean, default: false }} }}
steps:
  - name: Stop the old one
    {}  - name: Enter the list
    on: app
    file.line: {{ path: \"${{vars.files}}/list\", line: \"${{input.tag}}\" }}
  - confirm: Is everybody out?
  - together:
      - name: Application
        {}      - name: New database
        {}  - role.transfer: {{}}
  - name: Start the new one
    {}  - name: Tell the ghost
    when: input.ghost
    on: ghosts
    unreachable: skip
    exec.run: {{ argv: [/bin/sh, -c, 'exit 1'] }}
",
        gate("old.database", "${input.tag}.1"),
        gate("app", "${input.tag}.4a").replace("\n    ", "\n        "),
        gate("new.database", "${input.tag}.4n").replace("\n    ", "\n        "),
        gate("new.database", "${input.tag}.6"),
    )
}

/// The step of the host that never comes.
fn of_ghost(view: &Value) -> &Value {
    let steps = view["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["id"] == "7").expect("a step")
}

/// One run with one blow.
struct Round<'a> {
    world: &'a mut World,
    tag: String,
    blow: Blow,
    at: At,
    /// Database hosts: of the old primary, of the new.
    old: &'static str,
    new: &'static str,
    felled: Option<usize>,
}

impl Round<'_> {
    fn gate(&self, step: &str) -> String {
        format!("{}.{step}", self.tag)
    }

    /// The gates are at work; the blow falls here or not; they are let go.
    fn pass(&mut self, at: At, gates: &[(&str, &str)]) {
        let names: Vec<String> = gates.iter().map(|(step, _)| self.gate(step)).collect();
        names.iter().for_each(|gate| self.world.begun(gate, 1));
        if at != self.at {
            names.iter().for_each(|gate| self.world.release(gate));
            return;
        }
        let hosts: Vec<&str> = gates.iter().map(|(_, host)| *host).collect();
        match self.blow {
            Blow::Leader => self.strike(&hosts),
            Blow::Agent => {
                self.strike(&hosts);
                // What was in the middle is ended, and performed from its beginning.
                names.iter().for_each(|gate| self.world.begun(gate, 2));
            }
            Blow::AgentLate | Blow::Everything => {
                self.kill(&hosts);
                names.iter().for_each(|gate| self.world.release(gate));
                let world = &*self.world;
                for gate in &names {
                    baton_system_tests::eventually("the effect of an orphan", || match world.effects(gate) {
                        0 => Err(format!("none of {gate}")),
                        _ => Ok(()),
                    });
                }
                self.restart(&hosts);
            }
        }
        names.iter().for_each(|gate| self.world.release(gate));
    }

    /// Nobody is in the middle of anything.
    fn pass_between(&mut self, at: At, host: &str) {
        if at == self.at {
            self.strike(&[host]);
        }
    }

    fn strike(&mut self, hosts: &[&str]) {
        self.kill(hosts);
        self.restart(hosts);
    }

    fn kill(&mut self, hosts: &[&str]) {
        let cluster = &mut self.world.cluster;
        match self.blow {
            Blow::Leader => {
                let leader = cluster.wait_for_leader(PATIENCE).expect("a leader");
                cluster.kill_coordinator(leader);
                self.felled = Some(leader);
            }
            Blow::Agent | Blow::AgentLate => hosts.iter().for_each(|host| cluster.kill_agent(host)),
            Blow::Everything => {
                (0..cluster.coordinators()).for_each(|number| cluster.kill_coordinator(number));
                HOSTS.iter().for_each(|host| cluster.kill_agent(host));
            }
        }
    }

    /// A killed leader stays away until the run is over: two of three are enough.
    fn restart(&mut self, hosts: &[&str]) {
        let world = &mut *self.world;
        let (cluster, registry) = (&mut world.cluster, &world.registry);
        match self.blow {
            Blow::Leader => {}
            Blow::Agent | Blow::AgentLate => {
                hosts.iter().for_each(|host| cluster.start_agent(registry, host).expect("started"));
            }
            Blow::Everything => {
                for number in 0..cluster.coordinators() {
                    cluster.start_coordinator(registry, number).expect("started");
                }
                HOSTS.iter().for_each(|host| cluster.start_agent(registry, host).expect("started"));
            }
        }
    }

    fn run(mut self) {
        let (old, new) = (self.old, self.new);
        let to = if new == "db2" { "b" } else { "a" };
        let epoch = self.world.json(&["status"])["groups"][0]["epoch"].as_u64().expect("an epoch");
        let ghost = self.at == At::Unreachable;
        let (tag, ghost_input) = (format!("tag={}", self.tag), format!("ghost={ghost}"));
        let run = self.world.begin(&["switchover", "shop", "--to", to, "-i", &tag, "-i", &ghost_input]);

        self.pass(At::Program, &[("1", old)]);
        self.pass_between(At::File, "app1");
        self.world.until(&run, "waits for a word", |view| view["steps"][2]["state"] == "waiting");
        self.pass_between(At::Confirm, "app1");
        let said = self.world.baton(&["confirm", &run]);
        assert_eq!(said.code, 0, "{said:?}");
        self.pass(At::Together, &[("4a", "app1"), ("4n", new)]);
        self.pass_between(At::Transfer, new);
        self.pass(At::AfterTransfer, &[("6", new)]);
        if ghost {
            self.world.until(&run, "waits for the ghost", |view| of_ghost(view)["state"] == "running");
        }
        self.pass_between(At::Unreachable, "app1");

        let view = self.world.ends(&run, "succeeded");
        self.judge(&view, to, epoch);
        self.mend();
    }

    fn judge(&self, view: &Value, to: &str, epoch: u64) {
        let case = format!("{:?} at {:?}: {}", self.blow, self.at, told(view));
        for step in ["1", "4a", "4n", "6"] {
            assert_eq!(self.world.effects(&self.gate(step)), 1, "effects of {step}; {case}");
        }
        let list = self.world.read("list");
        assert_eq!(list.lines().filter(|line| **line == self.tag).count(), 1, "{list:?}; {case}");
        let group = &self.world.json(&["status"])["groups"][0];
        assert_eq!((&group["primary"], group["epoch"].as_u64()), (&to.into(), Some(epoch + 1)), "{case}");
        let tasks =
            view["steps"].as_array().expect("steps").iter().flat_map(|step| step["tasks"].as_array().expect("tasks"));
        for task in tasks {
            let skipped = task["state"] == "skipped";
            assert!(skipped || task["attempt"] == 1, "an attempt, and not an operator's retry; {case}");
        }
        if self.at == At::Unreachable {
            let note = of_ghost(view)["tasks"][0]["summary"].as_str().expect("a summary");
            assert!(note.contains("no session with"), "{note}; {case}");
        }
    }

    fn mend(self) {
        let world = self.world;
        if let Some(number) = self.felled {
            world.cluster.start_coordinator(&world.registry, number).expect("started");
        }
        world.cluster.wait_for_leader(PATIENCE).expect("a leader");
        world.ready(&HOSTS);
    }
}

fn at_every_step(blow: Blow, points: &[At]) {
    let mut world = World::start(&HOSTS);
    define(&world, &[("switchover", &runbook())]);
    world.write("list", "");
    for (number, at) in points.iter().enumerate() {
        let (old, new) = if number % 2 == 0 { ("db1", "db2") } else { ("db2", "db1") };
        let tag = format!("{blow:?}-{at:?}");
        Round { world: &mut world, tag, blow, at: *at, old, new, felled: None }.run();
    }
}

const BEFORE: &[At] = &[At::Program, At::File, At::Confirm, At::Together];
const AFTER: &[At] = &[At::Transfer, At::AfterTransfer, At::Unreachable];

#[test]
fn the_leader_is_killed_before_the_role_moves() {
    at_every_step(Blow::Leader, BEFORE);
}

#[test]
fn the_leader_is_killed_as_the_role_moves_and_after() {
    at_every_step(Blow::Leader, AFTER);
}

#[test]
fn the_agent_at_work_is_killed_and_comes_back_at_once() {
    at_every_step(Blow::Agent, &[At::Program, At::File, At::Together, At::Transfer, At::AfterTransfer]);
}

#[test]
fn the_agent_at_work_is_killed_and_comes_back_after_the_effect() {
    at_every_step(Blow::AgentLate, &[At::Program, At::Together, At::AfterTransfer]);
}

#[test]
fn all_coordinators_and_agents_are_killed_before_the_role_moves() {
    at_every_step(Blow::Everything, BEFORE);
}

#[test]
fn all_coordinators_and_agents_are_killed_as_the_role_moves_and_after() {
    at_every_step(Blow::Everything, AFTER);
}
