//! How processes and machines come to their end, and back.

use super::World;
use crate::{chance::Chance, seat::Kind};

/// The service manager starts what has died again after so many ticks.
const RESTART_TICKS: u64 = 100;

impl World {
    /// The process alone; what it wrote stays in its machine's memory and comes to the disk.
    pub(super) fn kill(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let Some(process) = seat.process.take() else { return };
        self.crashes += 1;
        let life = process.life.clone();
        life.end();
        drop(process);
        self.network.died(seat.node, &life, true);
        seat.disk.keep();
        seat.points.disarm();
        seat.cut = None;
        seat.up_at = Some(self.tick + RESTART_TICKS);
        self.story.tell(&seat.name, "is killed");
    }

    /// The machine, with everything on it that was not synced.
    pub(super) fn power_cut(&mut self, at: usize, ticks: u64) {
        let seat = &mut self.seats[at];
        if !seat.machine.powered {
            return;
        }
        self.crashes += 1;
        if let Some(process) = seat.process.take() {
            let life = process.life.clone();
            life.end();
            drop(process);
            self.network.died(seat.node, &life, false);
        }
        let mut chance = Chance::of(self.plan.seed ^ self.tick, &["cut", &seat.name]);
        seat.disk.cut(&mut chance);
        seat.points.disarm();
        seat.cut = None;
        seat.machine.powered = false;
        seat.up_at = Some(self.tick + ticks.max(1));
        self.network.power(seat.node, false);
        if seat.kind == Kind::Agent {
            self.ground.power_off(&seat.name);
        }
        self.story.tell(&seat.name, format!("loses its power for {} ms", ticks * super::TICK_MS));
    }

    /// It was ended from within, by a fault that waited for its moment.
    pub(super) fn ended_by_itself(&mut self, at: usize) {
        match self.seats[at].cut {
            Some(ticks) => self.power_cut(at, ticks),
            None => self.kill(at),
        }
    }
}
