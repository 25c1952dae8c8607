//! What goes wrong, done to the world; and undone when its time is over.

use super::World;
use crate::{
    network::Node,
    plan::{Fault, What},
    seat::POINTS,
};

/// What ends at a tick.
#[derive(Default)]
pub(super) struct Faults {
    ends: Vec<(u64, End)>,
    /// How many faults cut each link now.
    cuts: std::collections::BTreeMap<(Node, Node), u32>,
}

enum End {
    Cut(Vec<(Node, Node)>),
    Slow(Node, Node),
    SlowDisk(usize),
}

impl World {
    pub(super) fn happen(&mut self, what: What) {
        match what {
            What::Press { who, press } => {
                let at = self.seat(&who);
                self.press(at, press);
            }
            What::Fault(fault) => self.go_wrong_now(&fault),
        }
    }

    fn seat(&self, name: &str) -> usize {
        self.seats.iter().position(|seat| seat.name == name).expect("plans name what is there")
    }

    fn go_wrong_now(&mut self, fault: &Fault) {
        self.story.tell("", format!("!! {fault:?}"));
        match fault {
            Fault::Kill { who } => self.kill(self.seat(who)),
            Fault::PowerCut { who, ticks } => self.power_cut(self.seat(who), *ticks),
            Fault::CutAtSync { who, n, ticks } => {
                let at = self.seat(who);
                if self.seats[at].process.is_some() {
                    self.seats[at].disk.die_at_sync(*n);
                    self.seats[at].cut = Some(*ticks);
                }
            }
            Fault::KillAtPoint { who, point, n } => {
                let seat = &self.seats[self.seat(who)];
                if let Some(process) = &seat.process {
                    seat.points.arm(POINTS[usize::from(*point) % POINTS.len()], *n, &process.life);
                }
            }
            Fault::Pause { who, ticks } => {
                let at = self.seat(who);
                if let Some(process) = &mut self.seats[at].process {
                    process.stalled_ms += ticks * super::TICK_MS;
                }
            }
            Fault::Cut { from, to, ticks } => {
                let link = (self.seat(from), self.seat(to));
                self.cut(vec![link], *ticks);
            }
            Fault::Isolate { who, out, inward, ticks } => {
                let at = self.seat(who);
                let others = (0..self.seats.len()).filter(|other| *other != at);
                let links = others.flat_map(|other| {
                    [out.then_some((at, other)), inward.then_some((other, at))].into_iter().flatten()
                });
                self.cut(links.collect(), *ticks);
            }
            Fault::Split { site, ticks } => {
                let inside: Vec<bool> = (0..self.seats.len()).map(|at| self.network.site(at) == *site).collect();
                let across = |(a, b): &(Node, Node)| inside[*a] != inside[*b];
                let all = (0..self.seats.len()).flat_map(|a| (0..self.seats.len()).map(move |b| (a, b)));
                self.cut(all.filter(across).collect(), *ticks);
            }
            Fault::Slow { from, to, by, ticks } => {
                let (from, to) = (self.seat(from), self.seat(to));
                self.network.slow(from, to, *by);
                self.faults.ends.push((self.tick + ticks, End::Slow(from, to)));
            }
            Fault::Lag { who, by, ticks } => {
                let to = self.seat(who);
                for from in (0..self.seats.len()).filter(|from| *from != to) {
                    self.network.slow(from, to, *by);
                    self.faults.ends.push((self.tick + ticks, End::Slow(from, to)));
                }
            }
            Fault::Reset { a, b } => self.network.reset(self.seat(a), self.seat(b)),
            Fault::Drift { who, ppm } => {
                let at = self.seat(who);
                self.seats[at].machine.drift(*ppm);
            }
            Fault::Jump { who, ms } => self.seats[self.seat(who)].machine.offset.set_ms(*ms),
            Fault::SlowDisk { who, ms, ticks } => {
                let at = self.seat(who);
                self.seats[at].disk.slow(*ms);
                self.faults.ends.push((self.tick + ticks, End::SlowDisk(at)));
            }
            Fault::Dies { host, service } => {
                if self.ground.runs(host, service) {
                    self.story.tell(host, format!("{service} dies"));
                    self.ground.set_running(host, service, false);
                }
            }
        }
    }

    fn cut(&mut self, links: Vec<(Node, Node)>, ticks: u64) {
        for (from, to) in &links {
            *self.faults.cuts.entry((*from, *to)).or_default() += 1;
            self.network.cut(*from, *to, true);
        }
        self.faults.ends.push((self.tick + ticks, End::Cut(links)));
    }

    pub(super) fn expire_faults(&mut self) {
        let tick = self.tick;
        let (over, rest) = std::mem::take(&mut self.faults.ends).into_iter().partition(|(at, _)| *at <= tick);
        self.faults.ends = rest;
        let over: Vec<(u64, End)> = over;
        for (_, end) in over {
            self.undo(end);
        }
    }

    fn undo(&mut self, end: End) {
        match end {
            End::Cut(links) => {
                for (from, to) in links {
                    let count = self.faults.cuts.entry((from, to)).or_default();
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.network.cut(from, to, false);
                    }
                }
            }
            End::Slow(from, to) => self.network.slow(from, to, 0),
            End::SlowDisk(at) => self.seats[at].disk.slow(0),
        }
    }

    /// Nothing is wrong any more, and what is down comes up.
    pub(super) fn heal(&mut self) {
        for (_, end) in std::mem::take(&mut self.faults.ends) {
            self.undo(end);
        }
        let soon = self.tick + 100;
        for seat in &mut self.seats {
            seat.points.disarm();
            seat.disk.keep();
            seat.cut = None;
            if let Some(process) = &mut seat.process {
                process.stalled_ms = process.stalled_ms.min(500);
            }
            seat.up_at = seat.up_at.map(|at| at.min(soon));
        }
        self.ground.calm();
    }
}
