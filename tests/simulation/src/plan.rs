//! What goes wrong in a world, and what operators press: a list that is made from the seed before anything runs.
//!
//! Apart so that it can be written to a file, made smaller and run again. Each line stands for itself: one that is taken out changes
//! nothing about the others.

use serde::{Deserialize, Serialize};

use crate::{chance::Chance, coordinator, operator::Press, product};

mod misfortune;

pub const AGENTS: [&str; 4] = ["e1", "e2", "w1", "w2"];
pub const OPERATORS: [&str; 2] = ["anna", "zoe"];
pub const SITES: [&str; 3] = ["east", "west", "third"];

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub seed: u64,
    /// How long things go wrong, in ticks.
    pub ticks: u64,
    pub events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Since things may go wrong.
    pub tick: u64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Press { who: String, press: Press },
    Fault(Fault),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The process is killed; its machine lives.
    Kill {
        who: String,
    },
    /// The machine loses its power for so many ticks, and what was not synced.
    PowerCut {
        who: String,
        ticks: u64,
    },
    /// At the `n`th sync from now.
    CutAtSync {
        who: String,
        n: u64,
        ticks: u64,
    },
    /// At the `n`th time that the agent comes to this point.
    KillAtPoint {
        who: String,
        point: u8,
        n: u64,
    },
    /// The process stands still.
    Pause {
        who: String,
        ticks: u64,
    },
    /// Nothing that `from` sends arrives at `to`.
    Cut {
        from: String,
        to: String,
        ticks: u64,
    },
    /// Nothing leaves it, nothing comes, or both.
    Isolate {
        who: String,
        out: bool,
        inward: bool,
        ticks: u64,
    },
    /// A site is apart from the others.
    Split {
        site: String,
        ticks: u64,
    },
    Slow {
        from: String,
        to: String,
        by: u64,
        ticks: u64,
    },
    /// Everything that comes to it is late.
    Lag {
        who: String,
        by: u64,
        ticks: u64,
    },
    Reset {
        a: String,
        b: String,
    },
    /// The machine's clock runs fast or slow from the beginning.
    Drift {
        who: String,
        ppm: i64,
    },
    /// Its wall clock is set.
    Jump {
        who: String,
        ms: i64,
    },
    SlowDisk {
        who: String,
        ms: u64,
        ticks: u64,
    },
    /// The service dies by itself.
    Dies {
        host: String,
        service: String,
    },
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed, &["plan"]);
        let ticks = chance.between(2_000, 7_000);
        let mut events = Vec::new();
        let mut add = |tick, what| events.push(Event { tick, what });
        // Some worlds are rough, some nearly quiet: what needs many faults and what needs few is found alike.
        let (rough, busy) = (*chance.pick(&[4, 12, 30]), *chance.pick(&[15, 40]));
        let (faults, presses) = (chance.up_to(rough), chance.between(6, busy));
        let misfortune = misfortune::of(seed, ticks);
        let (faults, presses) = if misfortune.alone { (0, 0) } else { (faults, presses) };
        for who in AGENTS.iter().chain(&coordinator::NAMES) {
            if !chance.one_in(3) {
                continue;
            }
            let ppm = chance.between(0, 6_000) as i64 - 3_000;
            add(0, What::Fault(Fault::Drift { who: (*who).to_owned(), ppm }));
        }
        for _ in 0..faults {
            let tick = chance.up_to(ticks);
            add(tick, What::Fault(fault(&mut chance)));
        }
        for _ in 0..presses {
            let tick = chance.up_to(ticks);
            let who = (*chance.pick(&OPERATORS)).to_owned();
            add(tick, What::Press { who, press: press(&mut chance) });
        }
        events.extend(misfortune.events);
        events.sort_by_key(|event| event.tick);
        Self { seed, ticks, events }
    }
}

fn one(chance: &mut Chance, from: &[&str]) -> String {
    (*chance.pick(from)).to_owned()
}

fn anyone(chance: &mut Chance) -> String {
    if chance.one_in(2) { one(chance, &AGENTS) } else { one(chance, &coordinator::NAMES) }
}

/// Mostly some seconds, now and then longer than any patience.
fn while_(chance: &mut Chance) -> u64 {
    match chance.up_to(9) {
        0..=3 => chance.between(10, 200),
        4..=7 => chance.between(200, 1_200),
        _ => chance.between(1_000, 4_000),
    }
}

fn fault(chance: &mut Chance) -> Fault {
    match chance.up_to(29) {
        0..=2 => Fault::Kill { who: anyone(chance) },
        3..=4 => Fault::PowerCut { who: anyone(chance), ticks: chance.between(100, 3_000) },
        5..=7 => Fault::CutAtSync { who: anyone(chance), n: chance.between(1, 12), ticks: chance.between(100, 1_500) },
        8..=10 => Fault::KillAtPoint { who: one(chance, &AGENTS), point: chance.up_to(5) as u8, n: chance.up_to(1) },
        11..=12 => Fault::Pause { who: anyone(chance), ticks: while_(chance) / 2 },
        13..=15 => Fault::Cut { from: anyone(chance), to: anyone(chance), ticks: while_(chance) },
        16..=18 => {
            let way = chance.up_to(2);
            Fault::Isolate { who: anyone(chance), out: way != 0, inward: way != 1, ticks: while_(chance) }
        }
        19..=20 => Fault::Split { site: one(chance, &SITES), ticks: while_(chance) },
        21..=22 => {
            Fault::Slow { from: anyone(chance), to: anyone(chance), by: chance.between(5, 150), ticks: while_(chance) }
        }
        23..=24 => Fault::Reset { a: anyone(chance), b: one(chance, &coordinator::NAMES) },
        25 => Fault::Jump { who: anyone(chance), ms: chance.between(0, 7_200_000) as i64 - 3_600_000 },
        26 => Fault::SlowDisk { who: anyone(chance), ms: chance.between(20, 900), ticks: chance.between(50, 800) },
        _ => {
            let (_, service, members) = chance.pick(&product::EXCLUSIVE);
            let hosts = chance.pick(members);
            Fault::Dies { host: one(chance, hosts), service: (*service).to_owned() }
        }
    }
}

fn press(chance: &mut Chance) -> Press {
    let (group, runbooks) = chance.pick(&product::RUNBOOKS);
    let group = (*group).to_owned();
    match chance.up_to(29) {
        0..=12 => Press::Start { group, runbook: one(chance, runbooks) },
        13..=16 => Press::Retry { group },
        17..=18 => Press::Skip { group },
        19 => Press::Resume { group },
        20..=21 => Press::Abort { group },
        22..=25 => Press::Confirm { group: "ledger".to_owned() },
        26 => Press::Auto { group: "lone".to_owned(), word: one(chance, &["pause", "resume", "rearm", "rearm"]) },
        27 => Press::Override { group, guard: "alive".to_owned() },
        28 => Press::Lead { to: one(chance, &coordinator::NAMES) },
        _ => Press::Apply,
    }
}
