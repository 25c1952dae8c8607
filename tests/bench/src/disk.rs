//! What the disk itself can do: append 4 KiB and wait for it, again and again, as a log does at best.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::sample::Sample;

const BLOCK: [u8; 4096] = [0x5a; 4096];

/// Writes per second, one after the other, and how long each took.
pub fn fdatasync(directory: &Path, length: Duration) -> Result<(f64, Sample)> {
    let path = directory.join("fdatasync");
    let mut file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < length {
        let at = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(at.elapsed());
    }
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok((per_second, Sample::of(times)))
}
