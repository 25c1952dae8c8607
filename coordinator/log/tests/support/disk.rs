//! A disk in memory that loses what was not synced, as a power cut does.
//!
//! Killing a process does not test fsync: the page cache survives it. This does. At the cut any part of the unsynced
//! writes may have reached the disk and the rest not, in no particular order.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    live: Vec<u8>,
    unsynced: Vec<Write>,
    syncs: u64,
    cut_at_sync: Option<u64>,
    /// Grows with every cut and every opening. What was opened before it is dead.
    openings: u64,
}

#[derive(Debug, Clone)]
enum Write {
    Data(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    /// The file on it, as a process opens it now. A process that had it open before is dead, as killed, and writes no more:
    /// its threads may still be on their way here, where all processes are one. What it wrote is there, synced or not.
    pub fn open(&self) -> DiskFile {
        let mut platter = self.lock();
        platter.openings += 1;
        DiskFile { opening: platter.openings, disk: self.clone() }
    }

    /// Cuts the power: whoever has the file open is dead. Of the unsynced writes those survive that `chance` picks.
    pub fn cut(&self, chance: impl FnMut() -> bool) {
        self.lock().cut(chance);
    }

    /// Cuts the power in the middle of the `n`th sync from now, which then has not happened.
    #[allow(dead_code, reason = "not every test that includes this file plans its cut")]
    pub fn cut_at_sync(&self, n: u64) {
        let mut platter = self.lock();
        platter.cut_at_sync = Some(platter.syncs + n);
    }

    #[allow(dead_code, reason = "not every test that includes this file counts")]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no test panics while it holds the disk")
    }
}

impl Platter {
    fn cut(&mut self, mut chance: impl FnMut() -> bool) {
        self.openings += 1;
        for write in std::mem::take(&mut self.unsynced) {
            if chance() {
                write.to(&mut self.durable);
            }
        }
        self.live = self.durable.clone();
        self.cut_at_sync = None;
    }
}

impl Write {
    fn to(&self, image: &mut Vec<u8>) {
        match self {
            Write::Length(length) => image.resize(*length, 0),
            Write::Data(offset, data) => {
                if image.len() < offset + data.len() {
                    image.resize(offset + data.len(), 0);
                }
                image[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct DiskFile {
    disk: Disk,
    opening: u64,
}

impl DiskFile {
    fn platter(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.disk.lock();
        match platter.openings == self.opening {
            true => Ok(platter),
            false => Err(io::Error::other("the power is gone")),
        }
    }

    fn write(&self, write: Write) -> io::Result<()> {
        let mut platter = self.platter()?;
        write.to(&mut platter.live);
        platter.unsynced.push(write);
        Ok(())
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter()?.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter()?;
        let range = offset as usize..offset as usize + out.len();
        out.copy_from_slice(platter.live.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write(Write::Length(len as usize))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write(Write::Data(offset as usize, data.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        platter.syncs += 1;
        if platter.cut_at_sync == Some(platter.syncs) {
            platter.cut(|| false);
            return Err(io::Error::other("the power is gone"));
        }
        for write in std::mem::take(&mut platter.unsynced) {
            write.to(&mut platter.durable);
        }
        Ok(())
    }
}
