//! One cell of the matrix: a runbook, a party, a moment. One run in one world, with that party killed at that moment of every step.
//!
//! Apart from the matrix, which knows nothing of a run. What makes a cell red is told in words. What ended wrongly is never tried
//! twice; where nobody died when it was meant nothing was tried, and that is made good.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use baton_lab::{cluster::until, story::command};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{
    drive::{Way, begin, drive},
    end_state::EndState,
    limits::{RUN_WITHIN, SETTLED_WITHIN, SOON},
    news::Chronicle,
    party::{Moment, Party},
    procedure::{Programs, Runbook, Stage},
    saboteur::{Saboteur, leader},
};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub runbook: Runbook,
    pub party: Party,
    pub moment: Moment,
}

impl Cell {
    /// Why there is nobody to kill, where that is so for every step.
    pub fn without_victim(&self) -> Option<&'static str> {
        self.runbook.no_database.filter(|_| self.party == Party::Database)
    }

    pub fn id(&self) -> String {
        format!("{} {} {}", self.runbook.id(), self.party, self.moment)
    }
}

/// The run without any accident.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Undisturbed {
    pub end_state: EndState,
    pub ordered: BTreeSet<String>,
    pub begun: BTreeSet<String>,
    pub asked: BTreeSet<String>,
    /// Steps in the plan.
    pub steps: usize,
    pub seconds: f64,
}

/// How often a cell is begun at most until its victim dies when it is meant to.
const TRIES_MAX: usize = 3;

/// What came of a cell's run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Steps at which somebody died, of those at which that was after the task's end though it was meant to be before, and all that
    /// were ordered or asked.
    pub struck: usize,
    pub late: usize,
    pub steps: usize,
    /// How often somebody died once more in the recovery.
    pub again: usize,
    /// Why it halted, each time.
    pub halts: Vec<String>,
    pub facts: usize,
    /// Of all tries together.
    pub seconds: f64,
    /// How often it was begun; all else is of the last time.
    pub tries: usize,
    /// What ended wrongly.
    pub red: Vec<String>,
    /// Who did not die when it was meant to: the cell tried less than it says.
    pub missed: Vec<String>,
}

impl Verdict {
    pub fn is_green(&self) -> bool {
        self.red.is_empty() && self.missed.is_empty()
    }

    /// Nothing is wrong but the moment of the deaths, which is the driver's business and not Baton's.
    fn deserves_another_try(&self) -> bool {
        self.red.is_empty() && !self.missed.is_empty()
    }
}

/// A folder that user postgres can enter.
fn folder() -> Result<TempDir> {
    let open = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("baton-crashes-").permissions(open).tempdir().context("make a folder")
}

/// Runs the runbook with no accident.
pub async fn undisturbed(runbook: &Runbook, programs: &Programs) -> Result<Undisturbed> {
    let begun = Instant::now();
    let directory = folder()?;
    let mut world = runbook.build(directory.path(), programs).await?;
    let mut chronicle = Chronicle::of(world.cluster())?;
    let words = world.words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let run = begin(world.cluster(), &words)?;
    let way = drive(world.as_mut(), &mut chronicle, &run, RUN_WITHIN, &mut Bystander).await?;
    let expected = world.expected();
    let end_state = settled(world.as_mut(), |state| {
        let wrong = expected.iter().filter(|(fact, wanted)| state.get(fact) != Some(wanted.as_str()));
        wrong.map(|(fact, wanted)| format!("{fact}: {:?}, and {wanted:?} is expected", state.get(fact))).collect()
    })
    .await?;
    ensure!(end_state.wrong.is_empty(), "the undisturbed run ended wrongly: {}", end_state.wrong.join("; "));
    let Way { ordered, begun: began, asked, view, .. } = way;
    ensure!(!ordered.is_empty(), "no step was ordered");
    let steps = steps(&view);
    Ok(Undisturbed {
        end_state: end_state.seen,
        ordered,
        begun: began,
        asked,
        steps,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Nobody, but the world's own business goes on.
struct Bystander;

impl crate::drive::Attendant<Stage> for Bystander {
    async fn meanwhile(&mut self, world: &mut Stage, way: &Way) -> Result<()> {
        world.meanwhile(way).await
    }
}

/// Runs the cell. `wanted` waits for the undisturbed run's word. `logs`: where the logs of a red one are kept.
pub async fn perform(
    cell: &Cell,
    programs: &Programs,
    wanted: impl Fn() -> Result<Undisturbed>,
    logs: Option<&Path>,
) -> Verdict {
    let begun = Instant::now();
    let mut tries = 1;
    loop {
        let verdict = attempt(cell, programs, &wanted, logs).await;
        if tries == TRIES_MAX || !verdict.deserves_another_try() {
            return Verdict { tries, seconds: begun.elapsed().as_secs_f64(), ..verdict };
        }
        tries += 1;
    }
}

async fn attempt(
    cell: &Cell,
    programs: &Programs,
    wanted: &impl Fn() -> Result<Undisturbed>,
    logs: Option<&Path>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let ended = async {
        let directory = folder()?;
        let mut world = cell.runbook.build(directory.path(), programs).await?;
        let ended = disturbed(cell, world.as_mut(), wanted, &mut verdict).await;
        let red = ended.is_err() || !verdict.is_green();
        if let Some(logs) = logs.filter(|_| red) {
            keep_logs(world.as_ref(), &logs.join(cell.id().replace(['/', ' '], "-")))?;
        }
        ended
    };
    if let Err(error) = ended.await {
        verdict.red.push(format!("{error:#}"));
    }
    verdict
}

async fn disturbed(
    cell: &Cell,
    world: &mut Stage,
    wanted: &impl Fn() -> Result<Undisturbed>,
    verdict: &mut Verdict,
) -> Result<()> {
    let mut chronicle = Chronicle::of(world.cluster())?;
    let leads = leader(world)?;
    let runs = runs(world)?;
    let run = match cell.party {
        Party::CommandLine => begin_and_die(world)?,
        _ => {
            let words = world.words();
            begin(world.cluster(), &words.iter().map(String::as_str).collect::<Vec<_>>())?
        }
    };
    let mut saboteur = Saboteur::new(cell.party, cell.moment, &run, leads);
    let driven = drive(world, &mut chronicle, &run, RUN_WITHIN, &mut saboteur).await;
    (verdict.struck, verdict.late, verdict.again) = (saboteur.struck.len(), saboteur.late.len(), saboteur.again);
    let way = driven.with_context(|| format!("killed at steps {:?}", saboteur.struck))?;
    (verdict.halts, verdict.steps) = (way.halts.clone(), way.ordered.len() + way.asked.len());
    saboteur.finish(world, &way.view).await?;

    let wanted = wanted()?;
    let noted = |list: &mut Vec<String>, fine: bool, what: String| {
        if !fine {
            list.push(what);
        }
    };
    let mut missing = |fine, what| noted(&mut verdict.missed, fine, what);
    missing(!saboteur.struck.is_empty(), "nobody was killed at any step".to_owned());
    let (struck, late) = (saboteur.struck.len(), saboteur.late.len());
    // A server that was killed at the step before is started first, which takes as long as many a task.
    let in_time = late == 0 || late < struck || cell.party == Party::Database;
    missing(in_time, "whoever died did so after the task's end, at every step".to_owned());
    let moments = match cell.moment {
        Moment::Before => &way.ordered,
        Moment::During | Moment::Again => &way.begun,
        Moment::After => &way.ended,
    };
    let missed: Vec<_> = moments.difference(&saboteur.struck).collect();
    missing(cell.party == Party::Database || missed.is_empty(), format!("the moment of steps {missed:?} was missed"));
    let again = saboteur.again;
    let enough = cell.moment != Moment::Again || 2 * again >= struck;
    missing(enough, format!("of {struck} killed only {again} were killed in a recovery too"));
    let mut red = |fine, what| noted(&mut verdict.red, fine, what);
    // A begin that is not logged is a moment that nobody waits for.
    let (begun, undisturbed) = (nowhere(&way.begun), nowhere(&wanted.begun));
    let missed: Vec<_> = undisturbed.difference(&begun).collect();
    red(
        !cell.party.touches_no_host() || missed.is_empty(),
        format!("steps {missed:?} did not begin, undisturbed they did"),
    );
    let (ordered, undisturbed) = (nowhere(&way.ordered), nowhere(&wanted.ordered));
    red(ordered == undisturbed, format!("ordered were {ordered:?}, undisturbed {undisturbed:?}"));
    let (asked, undisturbed) = (nowhere(&way.asked), nowhere(&wanted.asked));
    red(asked == undisturbed, format!("asked at steps {asked:?}, undisturbed {undisturbed:?}"));
    let planned = steps(&way.view);
    red(planned == wanted.steps, format!("the run has {planned} steps, undisturbed {}", wanted.steps));
    let more = until(SOON, "the runs", || self::runs(world))? - runs;
    red(more == 1, format!("{more} runs were begun"));
    let loose = world.loose(cell.party);
    let end = settled(world, |state| state.differences(&wanted.end_state, loose)).await?;
    verdict.facts = end.seen.facts();
    verdict.red.extend(end.wrong);
    Ok(())
}

/// What was seen when the world had come to rest, and what was still wrong with it.
struct Rest {
    seen: EndState,
    wrong: Vec<String>,
}

/// Looks until nothing is wrong any more, or for long enough.
async fn settled(world: &mut Stage, wrong: impl Fn(&EndState) -> Vec<String>) -> Result<Rest> {
    let begun = Instant::now();
    loop {
        let seen = world.end_state().await.context("take the end state")?;
        let found = wrong(&seen);
        if found.is_empty() || begun.elapsed() > SETTLED_WITHIN {
            return Ok(Rest { seen, wrong: found });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn steps(view: &serde_json::Value) -> usize {
    view["steps"].as_array().map_or(0, Vec::len)
}

/// How many runs the group has had.
fn runs(world: &Stage) -> Result<usize> {
    let runs = world.cluster().json(&["runs", world.group()])?;
    Ok(runs.as_array().context("a list of runs")?.len())
}

/// A `baton` that begins the run is killed, each one later than the one before, until one has left a run. One that has left none may
/// have been killed at whatever moment before the run was in the log.
fn begin_and_die(world: &Stage) -> Result<String> {
    let cluster = world.cluster();
    let newest = || until(SOON, "the runs", || command::newest_run(cluster, world.group()));
    let before = newest()?;
    let words = world.words();
    let mut lives = Duration::from_millis(5);
    while lives < RUN_WITHIN {
        let mut baton = cluster.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        baton.args(["--yes", "--reason", "a test"]).stdout(Stdio::null()).stderr(Stdio::null());
        die(baton, lives)?;
        lives = lives.mul_f64(1.15);
        match newest()? {
            Some(run) if Some(&run) != before.as_ref() => return Ok(run),
            _ => {}
        }
    }
    anyhow::bail!("baton {} leaves no run, however late it is killed", words.join(" "))
}

/// Starts it, and kills it after so long: this is the accident, and no wait.
fn die(mut command: Command, after: Duration) -> Result<()> {
    let mut child = command.spawn().context("start baton")?;
    std::thread::sleep(after);
    child.kill().context("kill baton")?;
    child.wait().context("wait for baton").map(drop)
}

/// What everybody said, for whoever looks into a red cell.
fn keep_logs(world: &Stage, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let cluster = world.cluster();
    let coordinators = (0..cluster.coordinators())
        .map(|number| (format!("c{}.log", number + 1), cluster.coordinator_log(number).to_owned()));
    let agents =
        cluster.agents().into_iter().map(|host| (format!("{host}.log"), cluster.agent_directory(&host).join("log")));
    for (name, log) in coordinators.chain(agents) {
        std::fs::copy(&log, folder.join(name)).with_context(|| format!("keep {}", log.display()))?;
    }
    Ok(())
}

/// Steps, without the network of their world: two worlds live in two, and the turns of a `foreach` bear addresses in their names.
fn nowhere(steps: &BTreeSet<String>) -> BTreeSet<String> {
    let placeless = |step: &String| match step.split_once("[127.") {
        Some((number, address)) => format!("{number}[{}", address.rsplit('.').next().unwrap_or_default()),
        None => step.clone(),
    };
    steps.iter().map(placeless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_wrongly_is_never_tried_again() {
        let missed = Verdict { missed: vec!["nobody was killed at any step".to_owned()], ..Verdict::default() };
        let wrong = Verdict { red: vec!["epoch: \"3\", undisturbed \"2\"".to_owned()], ..missed.clone() };
        let wanted = [(Verdict::default(), true, false), (missed, false, true), (wrong, false, false)];
        for (verdict, green, again) in wanted {
            assert_eq!((verdict.is_green(), verdict.deserves_another_try()), (green, again), "{verdict:?}");
        }
    }

    #[test]
    fn two_worlds_have_the_same_steps_and_two_turns_are_two() {
        let world = |network: &str| [format!("11[{network}.22]"), format!("11[{network}.23]"), "4".to_owned()].into();
        assert_eq!(nowhere(&world("127.101.83")), nowhere(&world("127.105.32")));
        assert_eq!(nowhere(&world("127.101.83")).len(), 3);
    }
}
