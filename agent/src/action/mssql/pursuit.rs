//! A change of role, followed until it is seen on every replica.
//!
//! Apart because planned and forced differ in one statement and in when it may be sent, and in nothing that follows. The
//! statement's own answer decides at most whether it may be sent again; whether it worked is read from the replicas, beside
//! the statement while it runs and after it.

use std::time::Duration;

use baton_model::outcome::Fault;
use tokio::time::Instant;

use super::{
    decide::{After, Start, Way, after},
    look::Eyes,
    send::{Answer, alter, answer, next_look, send},
    state::{Cluster, GroupState, Role},
};
use crate::action::{Context, Failure};

/// An answer that leaves it open counts as "did not happen" when everything has stood as before for so long.
const SETTLED: Duration = Duration::from_secs(5);
/// One that was accepted was lost when everything has stood as before for so long: its instance ended before the effect.
const LOST: Duration = Duration::from_secs(20);
/// So long an old primary of Pacemaker's may go on saying PRIMARY before it is told: nobody else tells it.
const UNTOLD: Duration = Duration::from_secs(2);

/// What is to come true, and the statement for it.
pub struct Pursuit<'a> {
    pub group: &'a str,
    pub start: Start,
    /// `FAILOVER`, or the forced one.
    pub words: &'static str,
    /// Whether it may be sent, asked again before each time.
    pub verdict: fn(&GroupState) -> Result<Way, Fault>,
}

enum Seen {
    There(GroupState, String),
    Untouched,
}

impl Pursuit<'_> {
    /// Sends it, and again where it certainly did not happen, until the target is primary and everybody agrees.
    pub async fn run(&self, eyes: &mut Eyes, context: &Context) -> Result<(GroupState, String), Failure> {
        let target = eyes.own().clone();
        let sql = alter(self.group, self.start.cluster, self.words);
        let mut noted = String::new();
        loop {
            let mut sending = Box::pin(send(&target, &sql, context));
            let mut said: Option<Answer> = None;
            let mut untouched: Option<Instant> = None;
            let mut told = None;
            loop {
                // The statement goes on while replicas are asked, one of which may let us wait.
                let looking = async {
                    next_look(context).await;
                    self.seen(eyes, context, &mut told, &mut noted).await
                };
                let mut looking = Box::pin(looking);
                let seen = loop {
                    tokio::select! {
                        biased;
                        answered = &mut sending, if said.is_none() => {
                            said = Some(answer(&answered));
                            untouched = None;
                        }
                        seen = &mut looking => break Some(seen),
                        () = context.cancelled() => break None,
                    }
                };
                drop(looking);
                let Some(seen) = seen else { return Err(self.not_seen(&noted, said)) };
                match seen {
                    Some(Seen::There(state, note)) => return Ok((state, note)),
                    Some(Seen::Untouched) => match &said {
                        // Refused, and everything is as it was: that is certain.
                        Some(Answer::Refused(fault)) => return Err(Failure::Failed(fault.clone())),
                        Some(answer @ (Answer::Perhaps(_) | Answer::Accepted)) => {
                            let (settled, words) = match answer {
                                Answer::Perhaps(fault) => (SETTLED, fault.message.as_str()),
                                _ => (LOST, "it was accepted, and nothing came of it"),
                            };
                            if untouched.get_or_insert_with(Instant::now).elapsed() > settled {
                                untouched = None;
                                match (self.verdict)(&eyes.look().await?)? {
                                    Way::Ready(_) => {
                                        context.progress(format!("{words}; everything is as it was: sent again"), None);
                                        break;
                                    }
                                    Way::NotReady(fault) => context.progress(fault.message, None),
                                    Way::There(_) | Way::Between(_) => {}
                                }
                            }
                        }
                        Some(Answer::Awaited) | None => {}
                    },
                    None => untouched = None,
                }
            }
        }
    }

    /// Only looks, for a change that somebody else began, or that an earlier process sent. Ends without success where
    /// everything stands as before.
    pub async fn watch(&self, eyes: &mut Eyes, context: &Context) -> Result<Option<(GroupState, String)>, Failure> {
        let mut noted = String::new();
        let mut untouched: Option<Instant> = None;
        let mut told = None;
        loop {
            let seen = tokio::select! {
                seen = self.seen(eyes, context, &mut told, &mut noted) => seen,
                () = context.cancelled() => return Err(self.not_seen(&noted, None)),
            };
            match seen {
                Some(Seen::There(state, note)) => return Ok(Some((state, note))),
                Some(Seen::Untouched) if untouched.get_or_insert_with(Instant::now).elapsed() > SETTLED => {
                    return Ok(None);
                }
                Some(Seen::Untouched) => {}
                None => untouched = None,
            }
            if !next_look(context).await {
                return Err(self.not_seen(&noted, None));
            }
        }
    }

    async fn seen(
        &self,
        eyes: &mut Eyes,
        context: &Context,
        told: &mut Option<Instant>,
        noted: &mut String,
    ) -> Option<Seen> {
        let state = eyes.glance().await;
        let old = self.start.from.as_deref();
        let sentence = state.sentence();
        let news = *noted != sentence;
        noted.clone_from(&sentence);
        match after(&state, &self.start.target, old) {
            After::There(note) => Some(Seen::There(state, note)),
            After::Untouched(_) => Some(Seen::Untouched),
            After::Coming(note) => {
                if news {
                    context.progress(&note, None);
                }
                self.tell_old_primary(eyes, &state, context, told).await;
                None
            }
        }
    }

    /// Pacemaker demotes before it promotes; without it an old primary may keep its role until somebody says so.
    async fn tell_old_primary(&self, eyes: &Eyes, state: &GroupState, context: &Context, since: &mut Option<Instant>) {
        let is_primary = |name: &str| state.of(name).is_some_and(|replica| replica.role == Role::Primary);
        let Some(old) = self.start.from.as_deref().filter(|old| is_primary(old) && is_primary(&self.start.target))
        else {
            return;
        };
        if self.start.cluster != Cluster::External || since.get_or_insert_with(Instant::now).elapsed() < UNTOLD {
            return;
        }
        *since = Some(Instant::now());
        let Some(target) = eyes.target_of(state, old).cloned() else { return };
        context.progress(format!("{old} still says PRIMARY: it is told that it is a secondary"), None);
        let secondary = alter(self.group, self.start.cluster, "SET (ROLE = SECONDARY)");
        let refused = send(&target, &secondary, context).await.err();
        if refused.and_then(|error| error.number()) == Some(41104) {
            // Offline first, where the instance cannot go straight to secondary. Whether it worked is seen in the next look.
            if send(&target, &alter(self.group, self.start.cluster, "OFFLINE"), context).await.is_ok() {
                let _ = send(&target, &secondary, context).await;
            }
        }
    }

    /// The task ends, and the change was not seen everywhere: what was seen last is told, and nothing is concluded.
    fn not_seen(&self, last: &str, said: Option<Answer>) -> Failure {
        let words = match said {
            Some(Answer::Perhaps(fault) | Answer::Refused(fault)) => {
                format!(" The instance had said: {}", fault.message)
            }
            Some(Answer::Accepted | Answer::Awaited) | None => String::new(),
        };
        let message = format!(
            "{}: {} was not seen as primary by every replica before the end of the step: {last}.{words}",
            self.group, self.start.target,
        );
        Failure::Unclear(Fault::new(
            "BTN-0635",
            message,
            "See mssql.ag.role for each one's word; retry looks first and sends nothing that has happened.",
        ))
    }
}
