//! What a host said of itself. It raises no revision and is in no plan's digest: a plan would be out of date all the time.

use baton_model::{
    bill::{Kept, Sampled},
    group::{SAMPLE_BYTES_MAX, SAMPLED_MAX},
    ids::{GroupName, HostName, SampleName},
    outcome::Fault,
};

use crate::{command::Answer, state::State};

use super::no_group;

pub(super) fn record(
    state: &mut State,
    name: &GroupName,
    sample: &SampleName,
    host: &HostName,
    sampled: &Sampled,
) -> Result<Answer, Fault> {
    let group = state.groups.get_mut(name).ok_or_else(|| no_group(name))?;
    let wrong = |what: String| {
        Err(Fault::new("BTN-0173", format!("a sample of {host} is not kept: {what}."), "Look at the group's samples."))
    };
    if !group.definition.hosts.contains(host) {
        return wrong(format!("it is no host of group {name}"));
    }
    let bytes = sampled.data.to_string().len();
    if bytes > SAMPLE_BYTES_MAX {
        return wrong(format!("it says {bytes} bytes, and {SAMPLE_BYTES_MAX} are kept"));
    }
    let kept = group.samples.get_mut(sample).and_then(|hosts| hosts.get_mut(host));
    if let Some(kept) = kept {
        // An older leader's word that comes late.
        if kept.latest.seen >= sampled.seen {
            return Ok(Answer::Already);
        }
        kept.take(sampled.clone());
        return Ok(Answer::Done);
    }
    if group.samples.values().map(|hosts| hosts.len()).sum::<usize>() >= SAMPLED_MAX {
        // What a former definition asked for makes room: the one seen longest ago.
        let all =
            group.samples.iter().flat_map(|(sample, hosts)| hosts.iter().map(move |(host, kept)| (sample, host, kept)));
        let oldest =
            all.min_by_key(|(_, _, kept)| kept.latest.seen).map(|(sample, host, _)| (sample.clone(), host.clone()));
        if let Some((sample, host)) = oldest
            && let Some(hosts) = group.samples.get_mut(&sample)
        {
            hosts.remove(&host);
        }
        group.samples.retain(|_, hosts| !hosts.is_empty());
    }
    group.samples.entry(sample.clone()).or_default().insert(host.clone(), Kept::new(sampled.clone()));
    Ok(Answer::Done)
}
