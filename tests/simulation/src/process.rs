//! A process: a runtime of its own on which time passes only when the world says so.
//!
//! Apart because stopping one hard, pausing it and letting its clock run differently are all done to the runtime from outside; what
//! runs on it is the real program and does not know.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{runtime::Runtime, time::Instant};

use crate::life::{self, Life};

pub struct Process {
    pub life: Arc<Life>,
    runtime: Option<Runtime>,
    started: Instant,
    lived: Duration,
    /// It stands still for so much longer, in its machine's milliseconds.
    pub stalled_ms: u64,
}

impl Process {
    /// `begin` makes what runs; it is called on the runtime, where a clock can be read.
    pub fn start<F>(life: Arc<Life>, begin: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O needs only memory");
        let started = life::within(&life, || {
            runtime.block_on(async {
                let started = Instant::now();
                tokio::spawn(begin());
                started
            })
        });
        Self { life, runtime: Some(runtime), started, lived: Duration::ZERO, stalled_ms: 0 }
    }

    /// Lets so much time pass on it. A process that stands still finds afterwards that all of it is over at once.
    pub fn pass(&mut self, ms: u64) {
        self.lived += Duration::from_millis(ms);
        let Some(runtime) = &self.runtime else { return };
        if self.stalled_ms > 0 {
            self.stalled_ms = self.stalled_ms.saturating_sub(ms);
            return;
        }
        let until = self.started + self.lived;
        life::within(&self.life, || {
            runtime.block_on(async {
                let behind = until.saturating_duration_since(Instant::now());
                if behind > Duration::from_millis(2 * ms) {
                    tokio::time::advance(behind - Duration::from_millis(ms)).await;
                }
                tokio::time::sleep_until(until).await;
            });
        });
        self.stalled_ms += self.life.take_stall();
    }
}

impl Drop for Process {
    /// Nothing of it runs any more. What its destructors still try to do has no effect.
    fn drop(&mut self) {
        self.life.end();
        if let Some(runtime) = self.runtime.take() {
            life::within(&self.life, || runtime.shutdown_background());
        }
    }
}
