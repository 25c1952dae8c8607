//! Commits and linearizable reads of three nodes over mutual TLS, beside etcd in windows that alternate, and beside what the
//! disk can do.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    disk,
    etcd::{self, Etcd},
    ground::Ground,
    kv::{Service, Window, Work, window},
    nodes::Nodes,
    sample::median,
    table::{Report, Row},
};

const NAME: &str = "commit";
/// What is asked for, and by how many clients at once.
const LOADS: [(Work, usize); 5] = [(Work::Put, 1), (Work::Put, 16), (Work::Put, 64), (Work::Get, 1), (Work::Get, 64)];

/// How long.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Windows of each load for each cluster.
    #[arg(long, default_value_t = 7)]
    pub windows: usize,
    /// Milliseconds of one window.
    #[arg(long, default_value_t = 2000)]
    pub window_ms: u64,
}

pub async fn run(options: Options, directory: &Path, report: &mut Report) -> Result<()> {
    let ground = Ground::take(directory)?;
    let before = disk::fdatasync(ground.path(), Duration::from_secs(1))?;
    let nodes = Nodes::start(&ground)?;
    let ours = nodes.service(&ground)?;
    let etcd = match etcd::program() {
        Some(program) => {
            report.notes.push(format!("commit: beside {}", etcd::version(&program)?));
            Some(Etcd::start(&ground, &program)?)
        }
        None => {
            report
                .notes
                .push("commit: etcd is not installed (apt install etcd-server), so nothing stands beside it".into());
            None
        }
    };
    let theirs = etcd.as_ref().map(|etcd| etcd.service(&ground)).transpose()?;
    for (work, many) in LOADS {
        measure(options, work, many, &ours, theirs.as_ref(), report).await?;
    }
    drop((nodes, etcd));
    let after = disk::fdatasync(ground.path(), Duration::from_secs(1))?;
    report.rows.push(Row::new(NAME, "disk alone: 4 KiB + fdatasync", (before.0 + after.0) / 2.0, "/s"));
    report.rows.push(Row::new(NAME, "disk alone, p50", median([before.1.median(), after.1.median()]), "ms"));
    report.rows.push(Row::new(NAME, "disk alone, p99", before.1.percentile(0.99).max(after.1.percentile(0.99)), "ms"));
    Ok(())
}

async fn measure(
    options: Options,
    work: Work,
    many: usize,
    ours: &Service,
    theirs: Option<&Service>,
    report: &mut Report,
) -> Result<()> {
    let length = Duration::from_millis(options.window_ms);
    let our_clients = ours.clients(many).await?;
    let their_clients = match theirs {
        Some(service) => Some(service.clients(many).await?),
        None => None,
    };
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for turn in 0..options.windows {
        // Who begins changes, so that neither always runs in the other's wake.
        for side in [turn % 2, (turn + 1) % 2] {
            match (&their_clients, side) {
                (_, 0) => own.push(window(&our_clients, work, length).await.context("ask baton-log")?),
                (Some(clients), _) => other.push(window(clients, work, length).await.context("ask etcd")?),
                (None, _) => {}
            }
        }
    }
    let what = if work == Work::Put { "put" } else { "linearizable get" };
    let plural = if many == 1 { "client" } else { "clients" };
    let row = |figure: &str, unit: &'static str, read: &dyn Fn(&Window) -> f64| {
        let row = Row::new(NAME, format!("{what}, {many} {plural}, {figure}"), median(own.iter().map(read)), unit);
        if other.is_empty() {
            return row;
        }
        let ratio = median(own.iter().zip(&other).map(|(own, other)| read(own) / read(other)));
        row.beside(median(other.iter().map(read)), "etcd", ratio)
    };
    let mut rate = row("rate", "/s", &|window| window.per_second);
    let mut half = row("p50", "ms", &|window| window.times.median());
    let slow = row("p99", "ms", &|window| window.times.percentile(0.99));
    match (work, many) {
        (Work::Put, 64) => rate = with_ratio(rate, "≥ 1.5 × etcd's", |ratio| ratio >= 1.5),
        (Work::Put, 1) => half = with_ratio(half, "≤ etcd's", |ratio| ratio <= 1.0),
        (Work::Get, 64) => rate = with_ratio(rate, "≥ 3 × etcd's", |ratio| ratio >= 3.0),
        _ => {}
    }
    report.rows.extend([rate, half, slow]);
    Ok(())
}

fn with_ratio(row: Row, wish: &str, met: impl FnOnce(f64) -> bool) -> Row {
    match row.ratio {
        Some(ratio) => row.wish(wish.to_owned(), met(ratio)),
        None => row,
    }
}
