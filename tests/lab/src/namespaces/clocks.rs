//! Wall clocks of their own for agents and coordinators, by a library that they are loaded with (libfaketime).
//!
//! Apart because the library leaves two files in shared memory for each process that is killed; nobody else would ever remove them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

const SHARED_MEMORY: &str = "/dev/shm";

/// Where each place's clock is set.
#[derive(Debug, Clone)]
pub struct Clocks {
    library: PathBuf,
    root: PathBuf,
}

impl Clocks {
    /// `root`: a folder for the settings.
    pub fn new(library: PathBuf, root: PathBuf) -> Self {
        Self { library, root }
    }

    /// Sets a clock off from the machine's: `+3600`, `-3600`, `+0`.
    pub fn set(&self, place: &str, offset: &str) -> Result<()> {
        // Whole at once: it is read at every question.
        let fresh = self.root.join("clock.new");
        fs::write(&fresh, format!("{offset}\n"))?;
        fs::rename(fresh, self.setting(place)).context("set a clock")
    }

    /// The program goes by the place's clock.
    pub fn apply(&self, place: &str, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.setting(place))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_RESET", "1");
    }

    fn setting(&self, place: &str) -> PathBuf {
        self.root.join(format!("clock-{place}"))
    }
}

/// Removes the library's files of processes that are gone, those of earlier tests that were killed among them.
#[derive(Debug)]
pub struct Leftovers;

impl Drop for Leftovers {
    fn drop(&mut self) {
        for entry in fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let process = name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"));
            if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
                // Somebody else may be tidying up, too.
                let _gone = fs::remove_file(entry.path());
            }
        }
    }
}
