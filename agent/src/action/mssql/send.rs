//! Sending a statement that changes a group, on a session of its own, without a bound but the task's.
//!
//! Apart because such a statement returns before its effect, or never, or with an error although it worked: nobody here draws
//! a conclusion. The word that forces a failover is written in `force_failover` alone.

use std::{collections::BTreeMap, time::Duration};

use baton_model::outcome::Fault;
use tokio::time::Instant;

use super::state::Cluster;
use crate::{
    action::{
        Context,
        sql::{limits, sqlserver::fault},
    },
    host::sqlserver::{
        Error, Session, Target,
        number::{self, Class},
        text::name,
    },
};

/// Between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(300);

/// `ALTER AVAILABILITY GROUP [pom] …`. Pacemaker's groups listen only to a session that says it speaks for the cluster.
pub fn alter(group: &str, cluster: Cluster, what: &str) -> String {
    let alter = format!("ALTER AVAILABILITY GROUP {} {what};", name(group));
    match cluster {
        Cluster::External => {
            format!("EXEC sp_set_session_context @key = N'external_cluster', @value = N'yes'; {alter}")
        }
        Cluster::Wsfc | Cluster::None => alter,
    }
}

/// `ALTER DATABASE [db] SET HADR …`, alone in its batch.
pub fn set_hadr(database: &str, what: &str) -> String {
    format!("ALTER DATABASE {} SET HADR {what};", name(database))
}

/// Sends one batch on a new session, in master.
pub async fn send(target: &Target, sql: &str, context: &Context) -> Result<(), Error> {
    context.output().line(format!("{target}: {sql}"));
    let answer = async {
        let mut session = Session::open(target, &limits(context)).await?;
        session.batch(sql).await
    };
    let answer = answer.await;
    match &answer {
        Ok(()) => context.output().line(format!("{target}: accepted")),
        Err(error) => context.output().line(format!("{target}: {error}")),
    }
    answer
}

/// What an answer says of the effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Accepted: the effect is waited for.
    Accepted,
    /// Under way, or so already: nothing is sent again.
    Awaited,
    /// It may have happened: where it certainly did not, it may be sent again.
    Perhaps(Fault),
    /// It did not, and sending it again does not help.
    Refused(Fault),
}

/// Numbers whose meaning lies in the state: 41122 says that it is so already, 41113 that it is coming.
pub fn answer(said: &Result<(), Error>) -> Answer {
    let error = match said {
        Ok(()) => return Answer::Accepted,
        Err(error) => error,
    };
    match (error.number(), error.class()) {
        (Some(41113), _) | (_, Class::Information) => Answer::Awaited,
        (Some(41105 | 47104), _) => Answer::Refused(left_to_pacemaker(error)),
        (_, Class::Retry | Class::Ended) => Answer::Perhaps(fault(error)),
        _ if error.is_uncertain() => Answer::Perhaps(fault(error)),
        (Some(number), _) if number::class(number) == Class::Unlisted => Answer::Perhaps(fault(error)),
        _ => Answer::Refused(fault(error)),
    }
}

fn left_to_pacemaker(error: &Error) -> Fault {
    Fault::new(
        "BTN-0641",
        format!("{error}: the group is Pacemaker's, and the instance takes no such word from this session"),
        "Let the cluster move it (pcs resource move), or allow the login to speak for the cluster, then retry: the action looks first.",
    )
}

/// A statement that was accepted and is not seen yet is not sent again before so long.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// When each thing was last said.
#[derive(Debug, Default)]
pub struct Sent(BTreeMap<String, Instant>);

impl Sent {
    /// Whether it may be said now; then it counts as said.
    pub fn may(&mut self, what: &str) -> bool {
        let now = Instant::now();
        if self.0.get(what).is_some_and(|at| now.duration_since(*at) < AGAIN_AFTER) {
            return false;
        }
        self.0.insert(what.to_owned(), now);
        true
    }
}

/// Waits until the next look; false where the task ends first.
pub async fn next_look(context: &Context) -> bool {
    tokio::select! {
        () = context.cancelled() => false,
        () = tokio::time::sleep(LOOK_EVERY) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sqlserver::{Said, Who};

    fn refused(number: u32) -> Result<(), Error> {
        let who = Who { target: "SQL2 at 10.0.0.2:1433".to_owned(), login: "baton".to_owned() };
        Err(Error::Statement { who, said: Said { number, state: 1, level: 16, message: "no".to_owned() } })
    }

    #[test]
    fn only_what_may_pass_is_ever_sent_again() {
        for number in [41122, 41113, 41185] {
            assert_eq!(answer(&refused(number)), Answer::Awaited, "{number}");
        }
        for number in [41131, 41149, 41104, 35256, 41138, 41190, 50000] {
            assert!(matches!(answer(&refused(number)), Answer::Perhaps(_)), "{number}");
        }
        for number in [41142, 41140, 15151, 47122, 41125, 41134, 35208, 41160] {
            assert!(matches!(answer(&refused(number)), Answer::Refused(_)), "{number}");
        }
        for number in [41105, 47104] {
            assert!(matches!(answer(&refused(number)), Answer::Refused(fault) if fault.code == "BTN-0641"), "{number}");
        }
    }

    #[test]
    fn pacemakers_groups_get_the_session_context_in_the_same_batch() {
        assert_eq!(alter("po]m", Cluster::Wsfc, "FAILOVER"), "ALTER AVAILABILITY GROUP [po]]m] FAILOVER;");
        let external = alter("pom", Cluster::External, "FAILOVER");
        assert!(
            external.starts_with("EXEC sp_set_session_context") && external.ends_with("[pom] FAILOVER;"),
            "{external}"
        );
    }
}
