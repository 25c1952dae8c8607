//! Drives a run to its end as a patient operator would: a person confirms what is asked, and retries what has halted once whoever
//! attends has mended it.
//!
//! Apart because every test with accidents needs it, whatever its world is. It must never wait for a time to pass, only for a log, a
//! view or the end of its patience; and it never decides what may halt a run: that is the attendant's.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use baton_lab::cluster::Cluster;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::news::{Chronicle, News};

/// Between two looks at a run while nothing else happens: a look is a process of its own.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// A run that halts more often than this goes round in circles.
const HALTS_MAX: usize = 40;

/// A world with Baton in it.
pub trait Place {
    fn cluster(&self) -> &Cluster;
}

/// Who watches a run, and does something to it. Nothing is done where nothing is said.
#[allow(async_fn_in_trait, reason = "one thread drives one run")]
pub trait Attendant<W: ?Sized> {
    /// Something of this run, or of whom it depends on, was logged just now.
    async fn told(&mut self, _world: &mut W, _news: &News) -> Result<()> {
        Ok(())
    }

    /// A person is asked at this step, and has not answered yet.
    async fn asked(&mut self, _world: &mut W, _step: &str) -> Result<()> {
        Ok(())
    }

    /// The answer was taken.
    async fn confirmed(&mut self, _world: &mut W, _step: &str) -> Result<()> {
        Ok(())
    }

    /// The run has halted; when this returns it is tried again.
    async fn halted(&mut self, _world: &mut W, why: &str) -> Result<()> {
        bail!("it halts: {why}")
    }

    /// Again and again, between everything else.
    async fn meanwhile(&mut self, _world: &mut W, _way: &Way) -> Result<()> {
        Ok(())
    }
}

/// Does nothing, and expects that nothing goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl<W: ?Sized> Attendant<W> for Nobody {}

/// What happened on the way.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Steps that were ordered; whose effect, or look, began at an agent; that ended there; at which a person was asked.
    pub ordered: BTreeSet<String>,
    pub begun: BTreeSet<String>,
    pub ended: BTreeSet<String>,
    pub asked: BTreeSet<String>,
    /// Why it halted, each time.
    pub halts: Vec<String>,
    pub view: Value,
}

/// Starts a run and does not watch it; answers its name.
pub fn begin(cluster: &Cluster, words: &[&str]) -> Result<String> {
    let all = [words, &["--yes", "--detach", "--reason", "a test"]].concat();
    let said = cluster.baton(&all).context("run baton")?;
    ensure!(said.status.success(), "baton {}: {}", all.join(" "), String::from_utf8_lossy(&said.stderr).trim());
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// Begins a run and sees it to its end, which must be a good one, undisturbed.
pub async fn complete<W: Place + ?Sized>(world: &mut W, words: &[&str], within: Duration) -> Result<Way> {
    let mut chronicle = Chronicle::of(world.cluster())?;
    let run = begin(world.cluster(), words)?;
    drive(world, &mut chronicle, &run, within, &mut Nobody).await
}

/// Sees a run to its end, which must be a good one. The chronicle is of before the run's beginning.
pub async fn drive<W: Place + ?Sized>(
    world: &mut W,
    chronicle: &mut Chronicle,
    run: &str,
    within: Duration,
    attendant: &mut impl Attendant<W>,
) -> Result<Way> {
    let (begun, mut way) = (Instant::now(), Way::default());
    let (mut looking, mut looked) = (look(world.cluster(), run), Instant::now());
    // Nobody may lead at the moment: then it is asked again. What was said last is told where that never ends.
    let mut unanswered = String::new();
    loop {
        ensure!(begun.elapsed() < within, "{run} is not over after {within:?}: {}; {unanswered}", told(&way.view));
        let news = chronicle.news()?;
        for one in &news {
            if note(&mut way, run, one) {
                attendant.told(world, one).await?;
            }
        }
        attendant.meanwhile(world, &way).await?;
        if news.is_empty() && looking.is_finished() && looked.elapsed() > LOOK_EVERY {
            match looking.await.context("a look does not panic")? {
                Err(error) => unanswered = format!("{error:#}"),
                Ok(view) => {
                    way.view = view;
                    if way.view["over"] == true {
                        ensure!(way.view["phase"] == "succeeded", "{run}: {}", told(&way.view));
                        // What was logged in the last moment.
                        for one in chronicle.news()? {
                            if note(&mut way, run, &one) {
                                attendant.told(world, &one).await?;
                            }
                        }
                        return Ok(way);
                    }
                    if let Err(error) = speak(world, run, &mut way, attendant).await? {
                        unanswered = format!("{error:#}");
                    }
                }
            }
            (looking, looked) = (look(world.cluster(), run), Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What an operator says to a run that waits for one. The outer error ends everything, the inner one is that nobody answered.
async fn speak<W: Place + ?Sized>(
    world: &mut W,
    run: &str,
    way: &mut Way,
    attendant: &mut impl Attendant<W>,
) -> Result<Result<()>> {
    if way.view["phase"] == "halted" {
        let why = why(&way.view);
        way.halts.push(why.clone());
        ensure!(way.halts.len() < HALTS_MAX, "{run} halts again and again: {:#?}", way.halts);
        attendant.halted(world, &why).await?;
        return Ok(world.cluster().json(&["retry", run, "--reason", "mended"]).map(drop));
    }
    let waiting = way.view["steps"].as_array().into_iter().flatten().find(|step| step["state"] == "waiting");
    let Some(step) = waiting.and_then(|step| step["id"].as_str()).map(str::to_owned) else { return Ok(Ok(())) };
    way.asked.insert(step.clone());
    attendant.asked(world, &step).await?;
    let answered = world.cluster().json(&["confirm", run, "--reason", "seen"]).map(drop);
    if answered.is_ok() {
        attendant.confirmed(world, &step).await?;
    }
    Ok(answered)
}

/// Notes what belongs to the run; `false`: it belongs to another one.
fn note(way: &mut Way, run: &str, news: &News) -> bool {
    let (steps, task) = match news {
        News::Ordered { task, .. } => (&mut way.ordered, task),
        News::Begun(task) => (&mut way.begun, task),
        News::Ended(task) => (&mut way.ended, task),
        News::Leads(_) | News::Listens(_) | News::Obeys(_) => return true,
    };
    if task.run == run {
        steps.insert(task.step.clone());
    }
    task.run == run
}

/// Asks the command how a run is, beside everything else.
fn look(cluster: &Cluster, run: &str) -> JoinHandle<Result<Value>> {
    let mut command = cluster.command(&["show", run, "-o", "json"]);
    let run = run.to_owned();
    tokio::task::spawn_blocking(move || {
        let output = command.output().context("run baton")?;
        ensure!(output.status.success(), "baton show {run}: {}", String::from_utf8_lossy(&output.stderr).trim());
        serde_json::from_slice(&output.stdout).context("the output of baton show")
    })
}

/// Why a run has halted, with every task's fault.
fn why(view: &Value) -> String {
    let steps = view["steps"].as_array().into_iter().flatten();
    let tasks = steps.flat_map(|step| step["tasks"].as_array().into_iter().flatten());
    let faults = tasks.filter(|task| !task["fault"].is_null()).map(|task| task["fault"].to_string());
    format!("{} {}", view["why"].as_str().unwrap_or_default(), faults.collect::<Vec<_>>().join("; "))
}

/// A view, short enough for an error: its phase, and every step that is neither done nor still to come.
pub fn told(view: &Value) -> String {
    let steps = view["steps"].as_array().into_iter().flatten();
    let open = steps.filter(|step| step["state"] != "done" && step["state"] != "pending" && step["state"] != "skipped");
    let open = open.map(|step| {
        let tasks = step["tasks"].as_array().into_iter().flatten();
        let tasks = tasks.map(|task| {
            format!("{}#{} {} {} {}", task["host"], task["attempt"], task["state"], task["summary"], task["fault"])
        });
        format!("step {} {} [{}]", step["id"], step["state"], tasks.collect::<Vec<_>>().join("; "))
    });
    format!("{} {} {}", view["phase"], view["why"], open.collect::<Vec<_>>().join(", "))
}
