//! A place for a process: its machine with clocks and power, its disk, and whatever runs there now.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use baton_agent::executor::crash::{Crash, Point};
use baton_platform::tls::ReloadableTls;

use crate::{
    clock::{MachineClock, WallOffset},
    disk::Disk,
    life::Life,
    process::Process,
    world::TICK_MS,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Coordinator,
    Agent,
    Operator,
}

pub struct Seat {
    pub name: String,
    pub kind: Kind,
    pub node: usize,
    pub tls: Arc<ReloadableTls>,
    pub disk: Disk,
    pub process: Option<Process>,
    /// Set where what ran came to its end by itself, with its reason.
    pub ended: Ended,
    /// When what is down comes up again.
    pub up_at: Option<u64>,
    pub points: Arc<Points>,
    /// What the next unplanned end of its process is: with the power, and for how long.
    pub cut: Option<u64>,
    pub lives: u64,
    pub machine: Machine,
}

/// Clocks and power.
#[derive(Default)]
pub struct Machine {
    pub powered: bool,
    pub offset: WallOffset,
    ppm: i64,
    carry: i64,
    /// Since it was started, and since the world began, by its own clock.
    pub boot_ms: u64,
    pub lived_ms: u64,
    pub boots: u64,
    /// In which life of the machine an agent ran last.
    pub ran_in: Option<u64>,
}

impl Machine {
    /// With its power on.
    pub fn running() -> Self {
        Self { powered: true, ..Self::default() }
    }

    pub fn drift(&mut self, ppm: i64) {
        self.ppm = ppm;
    }

    /// How much of its own time goes by in a tick.
    pub fn pass(&mut self) -> u64 {
        self.carry += self.ppm * TICK_MS as i64;
        let extra = self.carry / 1_000_000;
        self.carry -= extra * 1_000_000;
        let ms = TICK_MS.saturating_add_signed(extra);
        self.boot_ms += ms;
        self.lived_ms += ms;
        ms
    }

    /// Read inside the runtime of the process that is started.
    pub fn clock(&self) -> MachineClock {
        MachineClock {
            offset: self.offset.clone(),
            boot_ms: self.boot_ms,
            lived_ms: self.lived_ms,
            started: tokio::time::Instant::now(),
        }
    }
}

/// How a process came to its end. Clones are the same.
#[derive(Clone, Default)]
pub struct Ended(Arc<Mutex<Option<String>>>);

impl Ended {
    pub fn say(&self, how: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(how.err().unwrap_or_else(|| "it ended".to_owned()));
    }

    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where an agent is ended from within.
#[derive(Default)]
pub struct Points {
    next: Mutex<Option<(Point, u64, Arc<Life>)>>,
    hit: AtomicBool,
}

pub const POINTS: [Point; 6] =
    [Point::Received, Point::BeforeStarted, Point::Started, Point::Acted, Point::BeforeFinished, Point::Finished];

impl Points {
    /// At the `n`th time, counted from 0.
    pub fn arm(&self, point: Point, n: u64, life: &Arc<Life>) {
        *self.lock() = Some((point, n, life.clone()));
    }

    pub fn disarm(&self) {
        *self.lock() = None;
    }

    pub fn was_hit(&self) -> bool {
        self.hit.swap(false, Ordering::SeqCst)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Point, u64, Arc<Life>)>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crash for Points {
    fn at(&self, point: Point) {
        let life = {
            let mut next = self.lock();
            match next.as_mut() {
                Some((wanted, n, _)) if *wanted == point && *n > 0 => {
                    *n -= 1;
                    return;
                }
                Some((wanted, _, _)) if *wanted == point => next.take().map(|(_, _, life)| life),
                _ => return,
            }
        };
        if let Some(life) = life.filter(|life| !life.is_over()) {
            self.hit.store(true, Ordering::SeqCst);
            life.end_here();
        }
    }
}
