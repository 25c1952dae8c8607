//! The judge: from nothing but what clients were answered, whether two places were ever active at once, and what became of what was
//! acknowledged. Pure.
//!
//! All machines of the lab are one, so one monotonic clock tells all their moments.

use std::collections::{BTreeMap, BTreeSet};

use super::repository::Job;

/// A job that was acknowledged to a client, as the client noted it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Acknowledged {
    pub number: i64,
    /// Who said so, in which epoch, and when.
    pub host: String,
    pub epoch: i64,
    pub at_ns: i64,
    /// When the client asked, and when it had the answer.
    pub sent_ns: i64,
    pub received_ns: i64,
}

/// A host that acknowledged in an epoch: from its first moment to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    pub epoch: i64,
    pub host: String,
    pub from_ns: i64,
    pub to_ns: i64,
    pub jobs: usize,
}

/// What the record says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// In order of time.
    pub tenures: Vec<Tenure>,
    /// Why there were two actives, or why the record cannot be believed. Empty: one active at a time.
    pub faults: Vec<String>,
}

impl Verdict {
    /// For people.
    pub fn summary(&self) -> String {
        let told = |tenure: &Tenure| format!("epoch {}: {} ({} jobs)", tenure.epoch, tenure.host, tenure.jobs);
        let tenures: Vec<String> = self.tenures.iter().map(told).collect();
        let faults = if self.faults.is_empty() { String::new() } else { format!("; {}", self.faults.join("; ")) };
        tenures.join(", ") + &faults
    }
}

/// Now, on the clock that everybody here shares.
pub fn monotonic_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Whether there was one active at a time.
pub fn judge(record: &[Acknowledged]) -> Verdict {
    let mut faults = Vec::new();
    let mut by_place: BTreeMap<(i64, &str), Tenure> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for one in record {
        if !(one.sent_ns..=one.received_ns).contains(&one.at_ns) {
            faults.push(format!("job {} was acknowledged at a moment outside its question and answer", one.number));
        }
        if !numbers.insert(one.number) {
            faults.push(format!("job {} was acknowledged twice", one.number));
        }
        let (host, at) = (one.host.clone(), one.at_ns);
        let tenure = by_place.entry((one.epoch, &one.host));
        let tenure = tenure.or_insert(Tenure { epoch: one.epoch, host, from_ns: at, to_ns: at, jobs: 0 });
        tenure.from_ns = tenure.from_ns.min(at);
        tenure.to_ns = tenure.to_ns.max(at);
        tenure.jobs += 1;
    }
    let mut tenures: Vec<Tenure> = by_place.into_values().collect();
    tenures.sort_by_key(|tenure| (tenure.from_ns, tenure.epoch));
    for (number, one) in tenures.iter().enumerate() {
        for two in &tenures[number + 1..] {
            let pair = format!("{} (epoch {}) and {} (epoch {})", one.host, one.epoch, two.host, two.epoch);
            if one.epoch == two.epoch {
                faults.push(format!("{pair} acknowledged in the same epoch"));
            } else if two.from_ns <= one.to_ns {
                let overlap = (one.to_ns.min(two.to_ns) - two.from_ns) as f64 / 1e6;
                faults.push(format!("{pair} were active at once for {overlap:.1} ms"));
            } else if two.epoch < one.epoch {
                faults.push(format!("{pair} acknowledged in the wrong order"));
            }
        }
    }
    Verdict { tenures, faults }
}

/// What a repository makes of the jobs that were acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub present: usize,
    /// Acknowledged, and not there.
    pub missing: BTreeSet<i64>,
    /// There, and not as it was acknowledged.
    pub altered: BTreeSet<i64>,
}

/// Holds a repository's jobs against the record.
pub fn kept<'a>(record: impl IntoIterator<Item = &'a Acknowledged>, jobs: &BTreeMap<i64, Job>) -> Kept {
    let mut kept = Kept::default();
    for one in record {
        match jobs.get(&one.number) {
            None => drop(kept.missing.insert(one.number)),
            Some(job) if job.host == one.host && job.epoch == one.epoch && job.at_ns <= one.at_ns => kept.present += 1,
            Some(_) => drop(kept.altered.insert(one.number)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(number: i64, host: &str, epoch: i64) -> Acknowledged {
        let at = number * 1000;
        Acknowledged { number, host: host.into(), epoch, at_ns: at, sent_ns: at - 10, received_ns: at + 10 }
    }

    fn faults(record: &[Acknowledged]) -> String {
        judge(record).faults.join("; ")
    }

    #[test]
    fn one_after_the_other_and_back_is_one_active_at_a_time() {
        let record: Vec<Acknowledged> = [(1, "dm1", 1), (2, "dm1", 1), (3, "dm2", 2), (4, "dm1", 3)]
            .map(|(number, host, epoch)| acknowledged(number, host, epoch))
            .into();
        let verdict = judge(&record);
        assert_eq!(verdict.faults, [""; 0]);
        assert_eq!(
            verdict.tenures.iter().map(|one| (one.epoch, one.jobs)).collect::<Vec<_>>(),
            [(1, 2), (2, 1), (3, 1)]
        );
    }

    #[test]
    fn every_way_to_be_two_is_seen() {
        let one = |number, host, epoch| acknowledged(number, host, epoch);
        assert!(faults(&[one(1, "dm1", 1), one(2, "dm2", 1)]).contains("same epoch"));
        assert!(faults(&[one(1, "dm1", 1), one(2, "dm2", 2), one(3, "dm1", 1)]).contains("active at once"));
        assert!(faults(&[one(1, "dm2", 2), one(2, "dm1", 1)]).contains("wrong order"));
        assert!(faults(&[one(1, "dm1", 1), one(1, "dm1", 1)]).contains("twice"));
        let late = Acknowledged { at_ns: 5000, ..one(1, "dm1", 1) };
        assert!(faults(&[late]).contains("outside"));
    }

    #[test]
    fn what_is_missing_or_altered_is_told() {
        let record = [acknowledged(1, "dm1", 1), acknowledged(2, "dm1", 1), acknowledged(3, "dm1", 1)];
        let job = |epoch| Job { payload: String::new(), host: "dm1".into(), epoch, at_ns: 0 };
        let kept = kept(&record, &BTreeMap::from([(1, job(1)), (2, job(2))]));
        assert_eq!(kept, Kept { present: 1, missing: BTreeSet::from([3]), altered: BTreeSet::from([2]) });
    }
}
