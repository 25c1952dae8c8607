//! An identity that can be renewed while connections are open.
//!
//! Apart because a bad file must never take a running process off the network: what works stays until something
//! better is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{ClientConfig, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::{Material, TlsError};
use crate::ca::{CA_CERTIFICATE_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::identity::Identity;

/// How often the files are looked at: three `stat` calls.
pub const RELOAD_PERIOD_DEFAULT: Duration = Duration::from_secs(30);

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// New connections use what is in the files now.
    Renewed,
    /// The files cannot be used; new connections use what was there before.
    Kept,
}

/// The current [`Material`] of an identity directory. Connections that are open keep what they began with; to end the
/// trust in an old authority, end them too (`max_connection_age`).
#[derive(Debug)]
pub struct ReloadableTls {
    directory: PathBuf,
    current: ArcSwap<Material>,
    /// How the files looked just before they were last read.
    seen: ArcSwap<FilesStamp>,
    problem: ArcSwapOption<String>,
}

impl ReloadableTls {
    /// Reads an identity directory for the first time; here a bad file is an error. A certificate that is not valid
    /// today is taken with a warning: the clock may be what is wrong, and may yet be set.
    pub fn load(directory: impl Into<PathBuf>) -> Result<Arc<Self>, TlsError> {
        let directory = directory.into();
        // Before reading: a change in between is then read twice, and not missed.
        let seen = FilesStamp::of(&directory);
        let material = Material::load(&directory)?;
        if !material.valid_at(SystemTime::now()) {
            tracing::warn!(
                directory = %directory.display(),
                identity = %material.identity(),
                not_after_unix_s = material.not_after_unix_s(),
                "the certificate is not valid today; nobody will accept it. Renew it, or set the clock"
            );
        }
        warn_if_exposed(&directory, &material);
        Ok(Arc::new(Self {
            directory,
            current: ArcSwap::from_pointee(material),
            seen: ArcSwap::from_pointee(seen),
            problem: ArcSwapOption::empty(),
        }))
    }

    /// What is used for new connections now.
    pub fn material(&self) -> Arc<Material> {
        self.current.load_full()
    }

    /// Who this process is.
    pub fn identity(&self) -> Identity {
        self.current.load().identity().clone()
    }

    /// For the side that is called.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.current.load().server_config()
    }

    /// For the side that calls.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.current.load().client_config()
    }

    /// Why the files are not what is in use, when the last reload kept the old certificate: for a status page, because
    /// a renewal that silently failed becomes an outage on the day when the old certificate ends.
    pub fn problem(&self) -> Option<Arc<String>> {
        self.problem.load_full()
    }

    /// Reads the files again, on demand (SIGHUP). Keeps the old ones, with a warning in the log, when the new ones
    /// cannot be used, are not valid today, or name somebody else: a process does not become another by a file.
    pub fn reload(&self) -> Reloaded {
        self.seen.store(Arc::new(FilesStamp::of(&self.directory)));
        match self.reload_checked() {
            Ok(material) => {
                tracing::info!(
                    directory = %self.directory.display(),
                    identity = %material.identity(),
                    not_after_unix_s = material.not_after_unix_s(),
                    "certificate reloaded"
                );
                warn_if_exposed(&self.directory, &material);
                self.current.store(Arc::new(material));
                self.problem.store(None);
                Reloaded::Renewed
            }
            Err(reason) => {
                tracing::warn!(
                    directory = %self.directory.display(),
                    %reason,
                    "certificate not reloaded; the one in use stays in use"
                );
                self.problem.store(Some(Arc::new(reason)));
                Reloaded::Kept
            }
        }
    }

    /// Reloads whenever a file changed, looking every `period`, until the token is cancelled.
    pub async fn watch(self: Arc<Self>, period: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // Bad files are tried again only when they change: one warning a change, not one a period.
            if FilesStamp::of(&self.directory) != **self.seen.load() {
                self.reload();
            }
        }
    }

    fn reload_checked(&self) -> Result<Material, String> {
        let material = Material::load(&self.directory).map_err(|error| error.to_string())?;
        let identity = self.identity();
        if *material.identity() != identity {
            return Err(format!("the new certificate names {}, and this is {identity}", material.identity()));
        }
        if !material.valid_at(SystemTime::now()) {
            return Err("the new certificate is not valid today".into());
        }
        Ok(material)
    }
}

/// A warning and no refusal: some installations hand keys to a group on purpose.
fn warn_if_exposed(directory: &Path, material: &Material) {
    if material.key_is_exposed() {
        tracing::warn!(
            key = %directory.join(KEY_FILE).display(),
            identity = %material.identity(),
            "others than its owner may use this key; set its mode to 0600"
        );
    }
}

/// What can be seen of the three files without reading them.
#[derive(Debug, PartialEq, Eq)]
struct FilesStamp([Option<(u64, u64, i64, i64)>; 3]);

impl FilesStamp {
    fn of(directory: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self([CA_CERTIFICATE_FILE, CERTIFICATE_FILE, KEY_FILE].map(|file| {
            let metadata = directory.join(file).metadata().ok()?;
            // The inode too: a rename brings a new one even within one tick of the file system's clock.
            Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
        }))
    }
}
