//! The directory that all instances of a world share: the world's file, its lock, and who lives.
//!
//! Apart because it is the only place that touches these files. The world is written to a new file that then takes the name, so
//! that a process killed at any moment leaves a whole one. No change may be made without the lock.

use crate::world::{Alive, Life, World};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} holds no world: {source}", path.display())]
    Unreadable { path: PathBuf, source: postcard::Error },
    #[error("the world in {} cannot be written: {source}", path.display())]
    Unwritable { path: PathBuf, source: postcard::Error },
    #[error("{} has a world of another version", path.display())]
    Version { path: PathBuf },
    #[error("{} already has a world", path.display())]
    Exists { path: PathBuf },
    #[error("instance {name} already runs in {}", path.display())]
    Running { name: String, path: PathBuf },
}

/// Changes whenever the shape of the world does.
const MAGIC: &[u8; 8] = b"BSQLW\x00\x00\x01";

#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
}

/// The lock over a world; ends with it.
pub struct Locked {
    _lock: File,
}

/// A process's sign of life; ends with it.
pub struct Living {
    file: File,
}

impl Living {
    /// Says that the process does not only exist but works.
    pub fn beat(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }
}

impl Directory {
    pub fn new(path: impl Into<PathBuf>) -> Directory {
        Directory { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn fault(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
        let path = path.to_owned();
        move |source| DirectoryError::File { what, path, source }
    }

    /// Begins a world.
    pub fn create(&self, world: &World) -> Result<(), DirectoryError> {
        for directory in [self.path.clone(), self.file("alive"), self.file("statements")] {
            std::fs::create_dir_all(&directory).map_err(Self::fault("create", &directory))?;
        }
        let _lock = self.lock()?;
        if self.file("world").exists() {
            return Err(DirectoryError::Exists { path: self.path.clone() });
        }
        self.save(world)
    }

    /// Waits for the lock; it is held for moments only.
    pub fn lock(&self) -> Result<Locked, DirectoryError> {
        let path = self.file("world.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Self::fault("open", &path))?;
        lock.lock().map_err(Self::fault("lock", &path))?;
        Ok(Locked { _lock: lock })
    }

    /// The bytes of the world, for comparison, and the world.
    pub fn load(&self) -> Result<(Vec<u8>, World), DirectoryError> {
        let path = self.file("world");
        let mut bytes = Vec::new();
        File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(Self::fault("read", &path))?;
        if !bytes.starts_with(MAGIC) {
            return Err(DirectoryError::Version { path });
        }
        let world = postcard::from_bytes(&bytes[MAGIC.len()..])
            .map_err(|source| DirectoryError::Unreadable { path, source })?;
        Ok((bytes, world))
    }

    pub fn encode(&self, world: &World) -> Result<Vec<u8>, DirectoryError> {
        postcard::to_extend(world, MAGIC.to_vec())
            .map_err(|source| DirectoryError::Unwritable { path: self.file("world"), source })
    }

    pub fn save(&self, world: &World) -> Result<(), DirectoryError> {
        self.replace(&self.encode(world)?)
    }

    /// Puts a whole new world in the place of the old one. Not synced: it must outlive processes, not the machine.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), DirectoryError> {
        let (fresh, path) = (self.file("world.new"), self.file("world"));
        std::fs::write(&fresh, bytes).map_err(Self::fault("write", &fresh))?;
        std::fs::rename(&fresh, &path).map_err(Self::fault("rename", &path))
    }

    fn life_file(&self, instance: &str) -> PathBuf {
        self.file("alive").join(instance.replace(['\\', '/'], "$"))
    }

    /// This process is that instance from now on.
    pub fn live(&self, instance: &str) -> Result<Living, DirectoryError> {
        let path = self.life_file(instance);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Self::fault("open", &path))?;
        // Whoever looks whether it lives holds the lock for a moment.
        for _ in 0..200 {
            if file.try_lock().is_ok() {
                let living = Living { file };
                living.beat();
                return Ok(living);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(DirectoryError::Running { name: instance.to_owned(), path: self.path.clone() })
    }

    /// Who lives, apart from `own`, which asks.
    pub fn alive(&self, world: &World, own: Option<&str>) -> Alive {
        let hung_after = Duration::from_millis(u64::try_from(world.options.hung_after_ms).unwrap_or(3000));
        let mut alive = BTreeMap::new();
        for (name, server) in &world.servers {
            let life =
                if Some(name.as_str()) == own || !server.begun { Life::Running } else { self.life(name, hung_after) };
            alive.insert(name.clone(), life);
        }
        alive
    }

    fn life(&self, instance: &str, hung_after: Duration) -> Life {
        let Ok(file) = File::open(self.life_file(instance)) else { return Life::Dead };
        if file.try_lock_shared().is_ok() {
            return Life::Dead;
        }
        let silent = file.metadata().and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
        if silent.is_some_and(|silent| silent > hung_after) { Life::Hung } else { Life::Running }
    }

    /// Appends a line to what an instance was asked.
    pub fn record_statement(&self, instance: &str, line: &str) -> Result<(), DirectoryError> {
        let path = self.statement_log(instance);
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(Self::fault("open", &path))?;
        file.write_all(line.as_bytes()).map_err(Self::fault("write", &path))
    }

    pub fn statement_log(&self, instance: &str) -> PathBuf {
        self.file("statements").join(format!("{}.jsonl", instance.replace(['\\', '/'], "$")))
    }
}
