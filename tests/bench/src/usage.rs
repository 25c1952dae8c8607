//! What the system says of a process: its memory and its processor time.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Kibibytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    pub resident: f64,
    pub anonymous: f64,
}

pub fn memory(pid: i32) -> Result<Memory> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("read the status of {pid}"))?;
    parse_memory(&text).with_context(|| format!("find the memory of {pid}"))
}

fn parse_memory(status: &str) -> Option<Memory> {
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    Some(Memory { resident: of("VmRSS")?, anonymous: of("RssAnon")? })
}

/// Processor time since the process began.
pub fn cpu(pid: i32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("read the times of {pid}"))?;
    // The name is in brackets and may hold spaces; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("read the times");
    Ok(Duration::from_secs_f64((ticks(11)? + ticks(12)?) as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The share of one processor that it takes over so long.
pub async fn load(pid: i32, length: Duration) -> Result<f64> {
    let (before, begun) = (cpu(pid)?, Instant::now());
    tokio::time::sleep(length).await;
    Ok((cpu(pid)? - before).as_secs_f64() / begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_by_its_name() {
        let status = "Name:\tx\nVmPeak:\t 9 kB\nVmRSS:\t  8192 kB\nRssAnon:\t     700 kB\n";
        assert_eq!(parse_memory(status), Some(Memory { resident: 8192.0, anonymous: 700.0 }));
        assert_eq!(parse_memory("Name:\tx\n"), None);
    }
}
