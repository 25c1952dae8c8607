//! One world: three coordinators, four agents, two operators, and the loop that lets time pass for all of them.
//!
//! In each tick: what goes wrong now, what arrives, what happens on the hosts, then every process in turn; and all of it is judged
//! before the next. Nothing here knows how a coordinator or an agent works.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use baton_platform::{
    address::Address,
    ca::{CertificateAuthority, CreateOptions, IssueOptions},
    clock::ManualClock,
    identity::Role,
    random::Random,
    tls::{ConnectOptions, Connector, ReloadableTls},
};
use tokio::sync::mpsc;

use crate::{
    agent::Agent,
    chance::Chance,
    coordinator::{self, Coordinator},
    deed::Doors,
    entropy,
    ground::Ground,
    invariant::{Violation, ends, exclusive, intent, kept, once, order},
    life::Life,
    network::Network,
    operator::{Desk, Operator, Press},
    plan::{AGENTS, OPERATORS, Plan},
    process::Process,
    product,
    record::Record,
    seat::{Ended, Kind, Machine, Seat},
    story::Story,
    verdict::{Failure, Verdict},
};

mod faults;
mod powers;

/// Everything that passes between two processes takes at least so long.
pub const TICK_MS: u64 = 10;
/// How long the groups may take until they are known, with nothing wrong.
const SETUP_TICKS: u64 = 6_000;
/// How long runs may take to their end, once nothing is wrong any more.
const MEND_TICKS: u64 = 90_000;
/// And so long nothing must change then.
const STEADY_TICKS: u64 = 500;
/// How long an operator waits for one answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(8);

pub struct World {
    plan: Plan,
    tick: u64,
    network: Network,
    ground: Ground,
    record: Record,
    desk: Desk,
    story: Story,
    seats: Vec<Seat>,
    /// To each operator.
    presses: Vec<mpsc::UnboundedSender<Press>>,
    counts: once::Counts,
    faults: faults::Faults,
    events: u64,
    crashes: u64,
    /// When things began to go wrong.
    begun: u64,
    violation: Option<Violation>,
    directory: std::path::PathBuf,
}

impl World {
    /// Before the first tick. `directory`: for certificates and the agents' task files.
    pub fn new(plan: Plan, story: Story, directory: &Path) -> Result<Self> {
        let seed = plan.seed;
        let names: Vec<(&str, &str, Kind)> = (coordinator::NAMES.iter().zip(["east", "west", "third"]))
            .map(|(name, site)| (*name, site, Kind::Coordinator))
            .chain(AGENTS.iter().zip(["east", "east", "west", "west"]).map(|(name, site)| (*name, site, Kind::Agent)))
            .chain(OPERATORS.iter().zip(["east", "west"]).map(|(name, site)| (*name, site, Kind::Operator)))
            .collect();
        let network = Network::new(seed, &names.iter().map(|(name, site, _)| (*name, *site)).collect::<Vec<_>>());
        let ground = Ground::new(seed, &AGENTS, story.clone());
        let record = Record::new(ground.clone(), story.clone());
        let seats = (names.iter().enumerate())
            .zip(certificates(directory, &names)?)
            .map(|((node, (name, _, kind)), tls)| Seat {
                name: (*name).to_owned(),
                kind: *kind,
                node,
                tls,
                disk: Default::default(),
                process: None,
                ended: Ended::default(),
                up_at: Some(1 + node as u64),
                points: Default::default(),
                cut: None,
                lives: 0,
                machine: Machine::running(),
            })
            .collect();
        for (host, service) in [("e2", "app"), ("e1", "solo"), ("w1", "duo"), ("w2", "duo")] {
            ground.set_running(host, service, true);
        }
        Ok(Self {
            plan,
            tick: 0,
            network,
            ground,
            record,
            desk: Desk::default(),
            story,
            seats,
            presses: Vec::new(),
            counts: once::Counts::default(),
            faults: faults::Faults::default(),
            events: 0,
            crashes: 0,
            begun: 0,
            violation: None,
            directory: directory.to_owned(),
        })
    }

    /// The engine's own invariants are not asked: whether the others find it too is the question.
    pub fn judge_by_the_ground_alone(&mut self) {
        self.record.leave_the_engine_out();
    }

    /// To the end, or to the first violation.
    pub fn run(mut self) -> Verdict {
        let begun = entropy::processor();
        if self.set_up() && self.go_wrong() && self.mend() {
            self.violation = self.judge_end();
        }
        let state = self.record.latest();
        let (lines, digest) = self.story.digest();
        let at = self.tick as f64 * TICK_MS as f64 / 1_000.0;
        Verdict {
            seed: self.plan.seed,
            failure: self.violation.take().map(|violation| Failure {
                invariant: violation.invariant,
                what: violation.what,
                at,
                begun: self.begun as f64 * TICK_MS as f64 / 1_000.0,
                last_lines: self.story.last_lines(),
                plan: self.plan.clone(),
            }),
            seconds: at,
            events: self.events,
            entries: self.record.entries(),
            runs: state.groups.values().map(|group| group.last_run).sum(),
            effects: self.ground.effects().len() as u64,
            crashes: self.crashes,
            lines,
            digest: format!("{digest:016x}"),
            cpu_seconds: (entropy::processor() - begun).as_secs_f64(),
        }
    }

    /// False where something was violated.
    fn set_up(&mut self) -> bool {
        let anna = self.seats.iter().position(|seat| seat.kind == Kind::Operator).expect("there are operators");
        while self.tick < SETUP_TICKS {
            if self.tick == 200 {
                self.press(anna, Press::Apply);
            }
            if !self.step() {
                return false;
            }
            if self.record.latest().groups.len() == product::GROUPS.len() {
                return true;
            }
        }
        self.violated("setup", "the groups are not known");
        false
    }

    fn go_wrong(&mut self) -> bool {
        let begin = self.tick;
        self.begun = begin;
        self.story.tell("", "== from here on things go wrong");
        let mut events = self.plan.events.clone().into_iter().peekable();
        while self.tick < begin + self.plan.ticks {
            while let Some(event) = events.next_if(|event| begin + event.tick <= self.tick) {
                self.happen(event.what);
            }
            if !self.step() {
                return false;
            }
        }
        true
    }

    fn mend(&mut self) -> bool {
        self.story.tell("", "== from here on nothing is wrong any more");
        self.heal();
        let begin = self.tick;
        let first = self.seats.iter().position(|seat| seat.kind == Kind::Operator).expect("there are operators");
        let mut steady_since = None;
        let mut last = None;
        while self.tick < begin + MEND_TICKS {
            // Again and again: what fails over by itself may open a run that halts.
            if (self.tick - begin) % 2_000 == 300 {
                for (at, group) in product::GROUPS.iter().enumerate() {
                    self.press(first + at % OPERATORS.len(), Press::Mend { group: (*group).to_owned() });
                }
            }
            if !self.step() {
                return false;
            }
            let unrest = ends::unrest(&self.record.latest(), &self.record.applied());
            if self.tick < begin + 400 || unrest.is_some() {
                steady_since = None;
            } else if self.tick - *steady_since.get_or_insert(self.tick) >= STEADY_TICKS {
                return true;
            }
            last = unrest.map(|what| (self.tick, what)).or(last);
        }
        let (tick, what) = last.unwrap_or_default();
        self.violation = Some(ends::violation(&what, self.tick - tick));
        false
    }

    fn judge_end(&self) -> Option<Violation> {
        self.record.check_end().or_else(|| kept::check(&self.desk, &self.record.words(), &self.record.latest()))
    }

    fn violated(&mut self, invariant: &str, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation::new(invariant, what));
        }
    }

    fn press(&mut self, seat: usize, press: Press) {
        let first = self.seats.iter().position(|seat| seat.kind == Kind::Operator).expect("there are operators");
        if let Some(operator) = self.presses.get(seat - first) {
            // An operator's process never ends.
            let _ = operator.send(press);
        }
    }

    /// One tick. False where something was violated.
    fn step(&mut self) -> bool {
        self.tick += 1;
        entropy::set_now_us(self.tick * TICK_MS * 1_000);
        self.expire_faults();
        self.events += self.network.deliver(self.tick);
        let (effects, resets) = self.ground.step(self.tick);
        self.events += effects.len() as u64;
        for host in resets {
            self.story.tell(&host, "is reset by its watchdog");
            let ticks = Chance::of(self.plan.seed ^ self.tick, &["boot", &host]).between(300, 1_500);
            if let Some(seat) = self.seats.iter().position(|seat| seat.name == host) {
                self.power_cut(seat, ticks);
            }
        }
        let state = self.record.latest();
        for effect in &effects {
            let found = self.record.with_tasks(|tasks| intent::check(effect, tasks));
            let found =
                found.or_else(|| order::check(effect, &state)).or_else(|| self.counts.check(effect, &self.desk));
            self.violation = self.violation.take().or(found);
        }
        if !effects.is_empty() {
            self.violation = self.violation.take().or_else(|| exclusive::check(&self.ground));
        }
        for seat in 0..self.seats.len() {
            self.let_pass(seat);
        }
        self.violation = self.violation.take().or_else(|| self.record.take_violation());
        if let Some(violation) = &self.violation {
            self.story.tell("", format!("== VIOLATED, {}: {}", violation.invariant, violation.what));
        }
        self.violation.is_none()
    }

    fn let_pass(&mut self, at: usize) {
        let ms = self.seats[at].machine.pass();
        if self.seats[at].up_at.is_some_and(|up_at| up_at <= self.tick) {
            self.start(at);
            return;
        }
        let seat = &mut self.seats[at];
        let Some(process) = &mut seat.process else { return };
        process.pass(ms);
        let life = process.life.clone();
        let panics = life.take_panics();
        if !panics.is_empty() {
            let what = format!("{}: {}", seat.name, panics.join("; "));
            self.violated("no panic", what);
        }
        if life.is_over() {
            self.ended_by_itself(at);
        } else if let Some(how) = self.seats[at].ended.take() {
            let what = format!("{} came to its end: {how}", self.seats[at].name);
            self.violated("no end", what);
        }
    }

    fn start(&mut self, at: usize) {
        let seed = self.plan.seed;
        let seat = &mut self.seats[at];
        seat.up_at = None;
        seat.lives += 1;
        if !std::mem::replace(&mut seat.machine.powered, true) {
            seat.machine.boots += 1;
            seat.machine.boot_ms = 0;
            self.network.power(seat.node, true);
        }
        if seat.lives > 1 {
            self.story.tell(&seat.name, "is started again");
        }
        let life = Life::begin(&seat.name);
        let ended = Ended::default();
        seat.ended = ended.clone();
        let (network, node, tls, disk) = (self.network.clone(), seat.node, seat.tls.clone(), seat.disk.clone());
        let machine = &seat.machine;
        let process = match seat.kind {
            Kind::Coordinator => {
                let witness = self.record.witness(&seat.name);
                let snapshot_every = *Chance::of(seed, &["snapshots"]).pick(&[20, 60, 2_000]);
                Process::start(life.clone(), || {
                    let clock = machine.clock();
                    let node = Coordinator { life, clock, disk, network, node, tls, witness, snapshot_every };
                    async move { ended.say(node.run().await) }
                })
            }
            Kind::Agent => {
                let boots = machine.boots;
                let rebooted = machine.ran_in != Some(boots);
                let doors = Doors { ground: self.ground.clone(), host: seat.name.clone(), life: life.clone() };
                let (crash, directory) = (seat.points.clone(), self.directory.join("state").join(&seat.name));
                let seed = Chance::of(seed, &[&seat.name, &seat.lives.to_string()]).draw();
                let process = Process::start(life, || {
                    let agent = Agent {
                        doors,
                        clock: machine.clock(),
                        disk,
                        network,
                        node,
                        tls,
                        crash,
                        directory,
                        coordinators: addresses(),
                        seed,
                        machine: format!("boot-{boots}"),
                        rebooted,
                    };
                    async move { ended.say(agent.run().await) }
                });
                seat.machine.ran_in = Some(boots);
                process
            }
            Kind::Operator => {
                let (sender, presses) = mpsc::unbounded_channel();
                self.presses.push(sender);
                let (desk, ground, story) = (self.desk.clone(), self.ground.clone(), self.story.clone());
                let name = seat.name.clone();
                Process::start(life.clone(), || {
                    let random = Random::from_seed(Chance::of(seed, &[&name]).draw());
                    let connector = Connector::new(network.dialler(node, &life), tls, ConnectOptions::default());
                    let client = baton_cli::client::Client::over(connector, addresses(), random, PATIENCE);
                    let operator = Operator { name, client, desk, ground, story, presses, number: 0 };
                    operator.run()
                })
            }
        };
        self.seats[at].process = Some(process);
    }
}

fn addresses() -> Vec<Address> {
    let address = |name: &&str| Address::new(name, coordinator::PORT).expect("a name and a port");
    coordinator::NAMES.iter().map(address).collect()
}

/// One authority, and what each process shows of itself.
fn certificates(directory: &Path, names: &[(&str, &str, Kind)]) -> Result<Vec<Arc<ReloadableTls>>> {
    let clock = ManualClock::at_unix_ms(entropy::BEGIN_UNIX_MS);
    let authority =
        CertificateAuthority::create(&directory.join("ca"), &CreateOptions::named("simulated".parse()?), &clock)?;
    let options = IssueOptions::default();
    let issue = |(name, _, kind): &(&str, &str, Kind)| {
        let issued = match kind {
            Kind::Coordinator => {
                authority.issue_coordinator(&name.parse()?, &[(*name).to_owned()], &options, &clock)?
            }
            Kind::Agent => authority.issue_agent(&name.parse()?, &options, &clock)?,
            Kind::Operator => authority.issue_operator(&name.parse()?, Role::Admin, &options, &clock)?,
        };
        let place = directory.join("identity").join(name);
        issued.write(&place)?;
        ReloadableTls::load(&place).with_context(|| format!("load the identity of {name}"))
    };
    names.iter().map(issue).collect()
}
