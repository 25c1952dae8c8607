//! Whether two were ever active at once: from what the component and its clients wrote down, and nothing else.
//!
//! Apart because it must stay believable when everything else is broken on purpose. It must never read what Baton says.

use std::{collections::BTreeMap, time::Duration};

/// The epoch of one that somebody started by hand, without asking anybody.
pub const BY_HAND: u64 = 0;

/// One time that the component ran on a host, from its first word to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenancy {
    pub host: String,
    pub epoch: u64,
    pub first_ns: u64,
    pub last_ns: u64,
    /// Lines of its record and acknowledged writes.
    pub words: u64,
}

/// A write that a client knows to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    pub host: String,
    pub epoch: u64,
    pub at_ns: u64,
}

/// Nothing was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// From the last word on one host to the first on the other, for each move in order.
    pub gaps: Vec<Duration>,
    /// Each tenancy that was not by hand, in order.
    pub tenancies: Vec<Tenancy>,
}

impl Verdict {
    pub fn smallest_gap(&self) -> Option<Duration> {
        self.gaps.iter().min().copied()
    }

    pub fn median_gap(&self) -> Option<Duration> {
        let mut sorted = self.gaps.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// What was by hand is left out: it is somebody else's doing, and how soon it ends is another question.
pub fn judge(tenancies: &[Tenancy], acks: &[Ack]) -> Result<Verdict, String> {
    let mut tenancies: Vec<Tenancy> = tenancies.iter().filter(|one| one.epoch != BY_HAND).cloned().collect();
    tenancies.sort_by_key(|one| one.first_ns);
    for ack in acks.iter().filter(|ack| ack.epoch != BY_HAND) {
        let of = tenancies.iter_mut().rev();
        let mut of = of.filter(|one| one.host == ack.host && one.epoch == ack.epoch && one.first_ns <= ack.at_ns);
        let Some(tenancy) = of.next() else { return Err(format!("nothing that ran has taken the write {ack:?}")) };
        tenancy.last_ns = tenancy.last_ns.max(ack.at_ns);
        tenancy.words += 1;
    }
    let mut holders: BTreeMap<u64, &str> = BTreeMap::new();
    for tenancy in &tenancies {
        let holder = holders.entry(tenancy.epoch).or_insert(&tenancy.host);
        if *holder != tenancy.host {
            return Err(format!("epoch {} was served by {holder} and by {}", tenancy.epoch, tenancy.host));
        }
    }
    for (at, later) in tenancies.iter().enumerate() {
        for earlier in &tenancies[..at] {
            if earlier.host != later.host && earlier.last_ns >= later.first_ns {
                let overlap = Duration::from_nanos(earlier.last_ns.min(later.last_ns) - later.first_ns);
                return Err(format!("both were active for {overlap:?}: {earlier:?} and {later:?}"));
            }
            if earlier.epoch > later.epoch {
                return Err(format!("an older epoch was served after a newer one: {earlier:?}, then {later:?}"));
            }
        }
    }
    let moves = tenancies.windows(2).filter(|pair| pair[0].host != pair[1].host);
    let gaps = moves.map(|pair| Duration::from_nanos(pair[1].first_ns - pair[0].last_ns)).collect();
    Ok(Verdict { gaps, tenancies })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(host: &str, epoch: u64, first_ns: u64, last_ns: u64) -> Tenancy {
        Tenancy { host: host.to_owned(), epoch, first_ns, last_ns, words: 1 }
    }

    fn ack(host: &str, epoch: u64, at_ns: u64) -> Ack {
        Ack { host: host.to_owned(), epoch, at_ns }
    }

    #[test]
    fn one_after_the_other_is_well_and_the_gaps_are_told() {
        let ran = [ran("h1", 1, 0, 10), ran("h1", 1, 20, 30), ran("h2", 2, 35, 50), ran("h1", 3, 70, 90)];
        let verdict = judge(&ran, &[ack("h2", 2, 55)]).expect("well");
        assert_eq!(verdict.gaps, [Duration::from_nanos(5), Duration::from_nanos(15)]);
        assert_eq!(verdict.smallest_gap(), Some(Duration::from_nanos(5)));
    }

    #[test]
    fn two_at_once_are_seen_whoever_tells() {
        let told = |ran: &[Tenancy], acks: &[Ack]| judge(ran, acks).expect_err("it is wrong");
        assert!(told(&[ran("h1", 1, 0, 10), ran("h2", 2, 10, 20)], &[]).contains("both were active"));
        // A short one within a long one, with others between.
        let within = [ran("h1", 1, 0, 100), ran("h1", 1, 10, 11), ran("h2", 2, 50, 60)];
        assert!(told(&within, &[]).contains("both were active for 10ns"), "{}", told(&within, &[]));
        // The record says nothing of it, and a client had its write taken.
        let apart = [ran("h1", 1, 0, 10), ran("h2", 2, 20, 30)];
        assert!(judge(&apart, &[]).is_ok());
        assert!(told(&apart, &[ack("h1", 1, 25)]).contains("both were active"));
        assert!(told(&apart, &[ack("h1", 2, 25)]).contains("nothing that ran"));
    }

    #[test]
    fn an_epoch_has_one_host_and_none_comes_back() {
        let told = |ran: &[Tenancy]| judge(ran, &[]).expect_err("it is wrong");
        assert!(told(&[ran("h1", 1, 0, 10), ran("h2", 1, 20, 30)]).contains("epoch 1 was served by h1 and by h2"));
        let back = [ran("h1", 1, 0, 10), ran("h2", 2, 20, 30), ran("h1", 1, 40, 50)];
        assert!(told(&back).contains("an older epoch"));
        let by_hand = [ran("h1", 1, 0, 100), ran("h2", BY_HAND, 20, 30)];
        assert!(judge(&by_hand, &[]).is_ok());
    }
}
