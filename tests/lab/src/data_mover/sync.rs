//! The synchronization service: what its own repository has and the other one has not got yet is carried there, a moment later. Where
//! the other one is gone it waits; what it never came to is what a failover loses.

use std::time::Duration;

use anyhow::Result;

use super::Repository;

const PAUSE: Duration = Duration::from_millis(150);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Jobs carried at once.
const BATCH: i64 = 500;

pub(super) async fn work(from: &Repository, to: &Repository) -> Result<()> {
    loop {
        if let Err(error) = carry(from, to).await {
            eprintln!("{error:#}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until a connection ends.
async fn carry(from: &Repository, to: &Repository) -> Result<()> {
    let here = from.endpoint().connect_within(CONNECT_WITHIN).await?;
    let there = to.endpoint().connect_within(CONNECT_WITHIN).await?;
    loop {
        let waiting = "select number, payload, host, epoch, at_ns from job join unsynchronized using (number) order by number limit $1";
        for job in here.query(waiting, &[&BATCH]).await? {
            let number: i64 = job.get(0);
            let (payload, host): (&str, &str) = (job.get(1), job.get(2));
            let (epoch, at): (i64, i64) = (job.get(3), job.get(4));
            let insert = "insert into job(number, payload, host, epoch, at_ns) values ($1, $2, $3, $4, $5) on conflict do nothing";
            there.execute(insert, &[&number, &payload, &host, &epoch, &at]).await?;
            here.execute("delete from unsynchronized where number = $1", &[&number]).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
