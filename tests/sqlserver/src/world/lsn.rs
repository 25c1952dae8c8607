//! A place in a database's log, and how SQL Server writes it.
//!
//! Apart because two notations exist: log-block ids padded with zeroes (hardened, sent, received, end of log, recovery) and real
//! record numbers (redone, commit). They must never be compared with each other; inside the world there is only one notation.

use serde::{Deserialize, Serialize};

/// The place after the last record, in blocks of 512 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lsn(pub u64);

/// Blocks in one virtual log file.
const VIRTUAL_LOG_BLOCKS: u64 = 100_000;
/// The first virtual log file's sequence number of a young database, as real ones show it.
const FIRST_VIRTUAL_LOG: u64 = 34;

impl Lsn {
    /// Where a database's log begins.
    pub const START: Lsn = Lsn(16);

    /// `numeric(25,0)` of a log block.
    pub fn block(self) -> i128 {
        let sequence = i128::from(FIRST_VIRTUAL_LOG + self.0 / VIRTUAL_LOG_BLOCKS);
        let block = i128::from(self.0 % VIRTUAL_LOG_BLOCKS) * 8;
        sequence * 1_000_000_000_000_000 + block * 100_000 + 1
    }

    /// `numeric(25,0)` of the last record before this place.
    pub fn record(self) -> i128 {
        Lsn(self.0.saturating_sub(1)).block() + 2
    }

    /// The place that [`Lsn::block`] wrote.
    pub fn of_block(number: i128) -> Option<Lsn> {
        let sequence = u64::try_from(number / 1_000_000_000_000_000).ok()?;
        let block = u64::try_from(number % 1_000_000_000_000_000 / 100_000).ok()?;
        Some(Lsn(sequence.checked_sub(FIRST_VIRTUAL_LOG)? * VIRTUAL_LOG_BLOCKS + block / 8))
    }

    /// How many KB lie between an earlier place and this one.
    pub fn kilobytes_since(self, earlier: Lsn) -> i64 {
        i64::try_from(self.0.saturating_sub(earlier.0).div_ceil(2)).unwrap_or(i64::MAX)
    }

    pub fn after(self, blocks: u64) -> Lsn {
        Lsn(self.0 + blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_number_reads_back_and_orders_like_the_place() {
        let places = [1, 2, 16, 99_999, 100_000, 250_123].map(Lsn);
        for place in places {
            assert_eq!(Lsn::of_block(place.block()), Some(place));
        }
        for pair in places.windows(2) {
            assert!(pair[0].block() < pair[1].block());
            assert!(pair[0].record() < pair[1].record());
        }
        assert_eq!(Lsn(16).block(), 34_000_000_012_800_001);
    }
}
