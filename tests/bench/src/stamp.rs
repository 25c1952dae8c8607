//! A program whose effect is a file that says when it began and when it was done, by the clock of the machine. Runs as
//! an action on an agent, started by [`crate::step`]: this program with `stamp` as its first word.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// When a program began its work, and when its effect was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub began: Duration,
    pub ended: Duration,
}

/// The monotonic clock, which all processes of a machine share.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The effect.
pub fn write(path: &Path) -> Result<()> {
    let began = now();
    let text = format!("{} {}\n", began.as_nanos(), now().as_nanos());
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

pub fn read(path: &Path) -> Result<Stamp> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(began)), Some(Ok(ended))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("{} does not hold a stamp", path.display())
    };
    Ok(Stamp { began: Duration::from_nanos(began), ended: Duration::from_nanos(ended) })
}
