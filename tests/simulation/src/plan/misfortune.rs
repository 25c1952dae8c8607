//! Accidents that come together: chains that a safeguard stands against, and that accidents drawn one by one do not form.
//!
//! Apart from the plan because each is a story of its own. Every line of one stands for itself still, and most worlds have none.

use super::{AGENTS, Event, Fault, OPERATORS, What, one};
use crate::{chance::Chance, coordinator, operator::Press};

/// One world in so many has one.
const ONE_IN: u64 = 3;
/// What comes is late by so much more at a time, in ticks: a session bears it, where it would take a longer silence for its end.
const LATER_BY: u64 = 150;
/// How long it takes until everything comes so late.
const LATER_EVERY: u64 = 200;
/// Hosts of the longer lease alone: with a shorter one a session ends before words are as late as they must be. The second has it first.
const LONG_LEASED: [&str; 3] = ["e2", "w2", "w2"];
/// Until a new leader is found, and knows that it leads.
const ELECTION: u64 = 250;
/// Until an operator's command, which asks one coordinator after the other, has come to that leader.
const ANSWER: u64 = 250;

/// What it comes to.
#[derive(Default)]
pub(super) struct Misfortune {
    pub events: Vec<Event>,
    /// Nothing else goes wrong in that world.
    pub alone: bool,
}

/// By the seed, and apart from everything else that it decides.
pub(super) fn of(seed: u64, ticks: u64) -> Misfortune {
    let mut chance = Chance::of(seed, &["misfortune"]);
    if !chance.one_in(ONE_IN) {
        return Misfortune::default();
    }
    let alone = chance.one_in(2);
    let begin = 200 + chance.up_to(if alone { 100 } else { ticks / 2 });
    let mut story = Story { begin, events: Vec::new(), chance };
    match story.chance.up_to(3) {
        0 => story.overtaken_order(),
        1 => story.late_renewals(),
        2 => story.inherited_lease(),
        _ => story.remembered_fence(),
    }
    Misfortune { events: story.events, alone }
}

struct Story {
    begin: u64,
    events: Vec<Event>,
    chance: Chance,
}

impl Story {
    /// An order is on its way for seconds; whoever sent it leads no more, and the run is given up before it arrives.
    fn overtaken_order(&mut self) {
        let (host, leader) = (one(&mut self.chance, &LONG_LEASED), self.leader());
        let cut = self.late(std::slice::from_ref(&leader), &host, 6) + self.chance.between(20, 60);
        self.free("ledger");
        self.press(0, cut - 80, Press::Start { group: "ledger".to_owned(), runbook: "many".to_owned() });
        self.deposed(cut, &leader);
        // Those who may lead next do not reach the host before the run is given up.
        let silent = ELECTION + ANSWER + self.chance.between(50, 150);
        for other in others(&leader) {
            self.fault(cut - 20, Fault::Cut { from: other, to: host.clone(), ticks: silent });
        }
        let word = cut + ELECTION + self.chance.between(0, 40);
        self.press(1, word, Press::Abort { group: "ledger".to_owned() });
    }

    /// A host hears of its lease late, and then nobody hears of the host: the role moves while it goes by what it heard last.
    fn late_renewals(&mut self) {
        self.free("pair");
        let host = one(&mut self.chance, &LONG_LEASED);
        let silent = self.late(&coordinator::NAMES.map(str::to_owned), &host, 6) + self.chance.between(0, 200);
        let lasts = self.chance.between(2_600, 3_600);
        self.fault(silent, Fault::Isolate { who: host, out: true, inward: false, ticks: lasts });
        let at = silent + self.chance.between(50, 900);
        self.press(0, at, Press::Start { group: "pair".to_owned(), runbook: "switchover".to_owned() });
    }

    /// The leader that promised a lease is gone, and with it whoever holds it; the next one is asked to move the role.
    fn inherited_lease(&mut self) {
        let (group, runbook, host) = self.leased();
        let leader = self.leader();
        let cut = self.begin + self.chance.between(200, 500);
        let lasts = self.chance.between(1_800, 3_000);
        self.fault(cut, Fault::Isolate { who: host, out: true, inward: true, ticks: lasts });
        let gone = cut + self.chance.between(0, 60);
        self.deposed(gone, &leader);
        let at = cut + ELECTION + self.chance.between(0, 300);
        self.press(0, at, Press::Start { group, runbook });
    }

    /// A host that was off when it was wanted comes back, and is told that the run is given up. Then its agent dies, and the first that the
    /// next one hears is the leader of before, which wants it still.
    fn remembered_fence(&mut self) {
        let (host, leader) = (one(&mut self.chance, &AGENTS), self.leader());
        self.free("ledger");
        let off = self.begin + self.chance.between(100, 300);
        let deposed = off + 120;
        self.press(0, off + 40, Press::Start { group: "ledger".to_owned(), runbook: "many".to_owned() });
        self.deposed(deposed, &leader);
        let word = deposed + ELECTION + self.chance.between(10, 60);
        self.press(1, word, Press::Abort { group: "ledger".to_owned() });
        let on = word + ANSWER + self.chance.between(80, 180);
        self.fault(off, Fault::PowerCut { who: host.clone(), ticks: on - off });
        let told = on + self.chance.between(120, 250);
        self.fault(off, Fault::Cut { from: leader.clone(), to: host.clone(), ticks: told - off });
        self.fault(told, Fault::Kill { who: host.clone() });
        for other in others(&leader) {
            self.fault(told, Fault::Cut { from: other, to: host.clone(), ticks: 400 });
        }
    }

    /// A coordinator that is asked to lead before anything happens. Not the first, which is asked first by whoever comes anew.
    fn leader(&mut self) -> String {
        let leader = one(&mut self.chance, &coordinator::NAMES[1..]);
        self.press(0, self.begin, Press::Lead { to: leader.clone() });
        leader
    }

    /// A group with a lease, what moves it, and a host that may hold it.
    fn leased(&mut self) -> (String, String, String) {
        let (group, runbook, hosts): (&str, &str, &[&str]) =
            if self.chance.one_in(2) { ("lone", "failover", &["e1", "w1"]) } else { ("pair", "switchover", &AGENTS) };
        self.free(group);
        (group.to_owned(), runbook.to_owned(), one(&mut self.chance, hosts))
    }

    /// A run of it that is open is given up.
    fn free(&mut self, group: &str) {
        self.press(0, self.begin - 200, Press::Abort { group: group.to_owned() });
    }

    /// What these say to the host comes later and later, in so many steps or one more. Returns when it is as late as it gets.
    fn late(&mut self, from: &[String], host: &str, steps: u64) -> u64 {
        let (steps, end) = (self.chance.between(steps, steps + 1), self.begin + 3_000);
        let mut at = self.begin + self.chance.between(50, 300);
        for step in 1..=steps {
            for from in from {
                let (by, ticks) = (step * LATER_BY, end - at);
                self.fault(at, Fault::Slow { from: from.clone(), to: host.to_owned(), by, ticks });
            }
            at += LATER_EVERY;
        }
        at
    }

    /// The others do not hear it any more, nor it them.
    fn deposed(&mut self, at: u64, leader: &str) {
        let ticks = self.chance.between(1_000, 2_000);
        for other in others(leader) {
            self.fault(at, Fault::Cut { from: leader.to_owned(), to: other.clone(), ticks });
            self.fault(at, Fault::Cut { from: other, to: leader.to_owned(), ticks });
        }
    }

    fn fault(&mut self, tick: u64, fault: Fault) {
        self.events.push(Event { tick, what: What::Fault(fault) });
    }

    fn press(&mut self, who: usize, tick: u64, press: Press) {
        let who = OPERATORS[who].to_owned();
        self.events.push(Event { tick, what: What::Press { who, press } });
    }
}

fn others(leader: &str) -> impl Iterator<Item = String> {
    coordinator::NAMES.iter().filter(move |name| **name != leader).map(|name| (*name).to_owned())
}
