//! A disk in memory that loses what was not synced, as a power cut does.
//!
//! At the cut any part of the unsynced writes may have reached the disk and the rest not, in no particular order, and one of them
//! only as far as some sector. It must never lose what was synced: that is a broken disk, and nothing here survives one.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use crate::{chance::Chance, life::Life};

const SECTOR: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    durable: Vec<u8>,
    live: Vec<u8>,
    unsynced: Vec<Write>,
    syncs: u64,
    die_at_sync: Option<u64>,
    /// Each sync takes so long.
    slow_ms: u64,
}

enum Write {
    Data(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    /// The file on it, as a process opens it now.
    pub fn open(&self, life: &Arc<Life>) -> DiskFile {
        DiskFile { life: life.clone(), disk: self.clone() }
    }

    /// The power goes: of the unsynced writes those survive that chance picks, and perhaps a part of one.
    pub fn cut(&self, chance: &mut Chance) {
        let mut platter = self.lock();
        let survival = chance.up_to(4);
        for write in std::mem::take(&mut platter.unsynced) {
            let torn = chance.one_in(8);
            if survival == 0 || chance.up_to(4) > survival {
                continue;
            }
            match write {
                Write::Data(offset, mut data) if torn && data.len() > SECTOR => {
                    let sectors = (data.len() / SECTOR) as u64;
                    data.truncate(SECTOR * chance.up_to(sectors) as usize);
                    Write::Data(offset, data).to(&mut platter.durable);
                }
                whole => whole.to(&mut platter.durable),
            }
        }
        platter.live = platter.durable.clone();
        platter.die_at_sync = None;
    }

    /// A process ends, and its machine does not: what it wrote stays written.
    pub fn keep(&self) {
        let mut platter = self.lock();
        platter.die_at_sync = None;
    }

    /// Whoever has it open ends at the `n`th sync from now, which then has not happened.
    pub fn die_at_sync(&self, n: u64) {
        let mut platter = self.lock();
        platter.die_at_sync = Some(platter.syncs + n);
    }

    pub fn slow(&self, ms: u64) {
        self.lock().slow_ms = ms;
    }

    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
pub struct DiskFile {
    disk: Disk,
    life: Arc<Life>,
}

impl fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskFile")
    }
}

impl DiskFile {
    fn platter(&self) -> io::Result<MutexGuard<'_, Platter>> {
        if self.life.is_over() {
            return Err(io::Error::other("the process is over"));
        }
        Ok(self.disk.lock())
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
        if platter.die_at_sync == Some(platter.syncs) {
            drop(platter);
            self.life.end();
            return Err(io::Error::other("the power is gone"));
        }
        self.life.stall(platter.slow_ms);
        for write in std::mem::take(&mut platter.unsynced) {
            write.to(&mut platter.durable);
        }
        Ok(())
    }
}
