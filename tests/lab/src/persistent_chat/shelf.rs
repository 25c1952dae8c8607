//! Log backups on the share and in the secondary's directory: made, shuffled, taken away; and what was restored from them.
//!
//! Apart because a failover's worth is in these files: which there are, in what order they were applied, and how often.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{DATABASE, Installation, Site};
use crate::sqlserver::{Writer, control::ShippingJob};

/// A restore of mgc, as the instance's msdb remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// D a full backup, L a log.
    pub kind: char,
    pub first: i128,
    pub last: i128,
    /// The instance that made the backup.
    pub server: String,
}

impl Installation {
    /// Runs one of log shipping's jobs, as its schedule would.
    pub fn job(&self, site: Site, which: ShippingJob) -> Result<()> {
        let ran = self.control().run_shipping_job(&site.instance(), DATABASE, which)?;
        ran.map_err(|error| anyhow!("{which:?} of {}: {} ({})", site.name(), error.text, error.number))
    }

    /// The three jobs: from a log backup to its rows on the secondary.
    pub fn ship(&self, from: Site, to: Site) -> Result<()> {
        self.job(from, ShippingJob::Backup)?;
        self.job(to, ShippingJob::Copy)?;
        self.job(to, ShippingJob::Restore)
    }

    /// The log backups on the share, by name.
    pub fn on_share(&self) -> Result<BTreeSet<PathBuf>> {
        let entries = fs::read_dir(self.share()).context("read the share")?;
        Ok(entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "trn"))
            .collect())
    }

    /// Five log backups that nobody copies, each with rows of the client, under names and dates that say nothing about their order.
    /// Returns them in the order in which they were made, and what the client had acknowledged before the last was begun.
    pub async fn five_uncopied(&self, writer: &Writer) -> Result<(Vec<PathBuf>, BTreeSet<i64>)> {
        let names = ["mgc_20240105.trn", "mgc_20240101.trn", "zz.trn", "mgc (copy).trn", "a.trn"];
        let mut made = Vec::new();
        let mut covered = BTreeSet::new();
        for (number, name) in names.iter().enumerate() {
            writer.has_written(3, Duration::from_secs(30)).await?;
            covered = writer.record().acknowledged;
            let before = self.on_share()?;
            self.job(Site::Atlanta, ShippingJob::Backup)?;
            let after = self.on_share()?;
            let fresh = after.difference(&before).next().context("the backup job made no file")?;
            let path = self.share().join(name);
            fs::rename(fresh, &path)?;
            // The newest looks oldest.
            let date = SystemTime::now() - Duration::from_secs(3600 * (number as u64 + 1));
            File::options().write(true).open(&path)?.set_modified(date)?;
            made.push(path);
        }
        ensure!(made.len() == names.len(), "there are not five of them");
        Ok((made, covered))
    }

    /// What was restored into a database of an instance, in order, by its own msdb.
    pub fn restored(&self, site: Site, database: &str) -> Result<Vec<Restored>> {
        let world = self.control().world()?;
        let msdb = &world.servers[&site.instance()].msdb;
        let of = |one: &&crate::sqlserver::world::msdb::Restore| one.database.eq_ignore_ascii_case(database);
        Ok(msdb
            .restores
            .iter()
            .filter(of)
            .filter_map(|one| {
                let set = msdb.backups.iter().find(|set| Some(set.id) == one.backup)?;
                Some(Restored { kind: one.kind, first: set.first, last: set.last, server: set.server.clone() })
            })
            .collect())
    }

    /// Source and destination of a site's log shipping of mgc; none where it is no secondary.
    pub fn shipped_to(&self, site: Site) -> Result<Option<(String, PathBuf, PathBuf)>> {
        let world = self.control().world()?;
        let found = world.servers[&site.instance()].msdb.secondary_of(DATABASE);
        Ok(found.map(|(one, _)| {
            let path = |text: &str| Path::new(text).to_owned();
            (one.primary_server.clone(), path(&one.source_directory), path(&one.destination_directory))
        }))
    }
}

/// Whether each begins where the one before ended, or before.
pub fn in_order(logs: &[Restored]) -> bool {
    logs.windows(2).all(|pair| pair[1].first <= pair[0].last && pair[0].last < pair[1].last)
}
