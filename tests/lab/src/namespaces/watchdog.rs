//! A host's watchdog: where nobody writes to it in time, the host loses its power.
//!
//! It plays the hardware behind the agent's `[watchdog]`: a pipe in the device's place, armed by the first byte, disarmed by the
//! kernel's magic one. It must never ask why nobody wrote.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::network::Inhabitants;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What disarms it.
const MAGIC: u8 = b'V';

/// See the module. Dropped, it is gone.
#[derive(Debug)]
pub struct Watchdog {
    resets: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// At `device`, with this time, for whoever lives there.
    pub fn start(device: &Path, time: Duration, host: Inhabitants) -> Result<Self> {
        mknodat(CWD, device, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("make the watchdog's pipe")?;
        let pipe = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(device).context("open it")?;
        let (resets, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&resets), Arc::clone(&stop));
        let thread = thread::spawn(move || watch(pipe, time, &host, &counted, &stopped));
        Ok(Self { resets, stop, thread: Some(thread) })
    }

    /// How often it has reset its host.
    pub fn resets(&self) -> usize {
        self.resets.load(Ordering::Relaxed)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn watch(mut pipe: File, time: Duration, host: &Inhabitants, resets: &AtomicUsize, stop: &AtomicBool) {
    let mut alive: Option<Instant> = None;
    let mut bytes = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        // No byte yet, or nobody who could write one: both are silence.
        let read = pipe.read(&mut bytes).unwrap_or(0);
        match bytes[..read].last() {
            Some(&MAGIC) => alive = None,
            Some(_) => alive = Some(Instant::now()),
            None if alive.is_some_and(|at| at.elapsed() >= time) => {
                alive = None;
                resets.fetch_add(1, Ordering::Relaxed);
                host.kill().expect("what is killed is gone");
            }
            None => {}
        }
        thread::sleep(LOOK_EVERY);
    }
}
