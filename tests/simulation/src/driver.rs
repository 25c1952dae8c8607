//! Runs many worlds: each seed in a process of its own, as many at once as there are processors.
//!
//! A process each, because what is global to one (generators of the thread, counters) must begin anew with every world.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{plan::Plan, verdict::Verdict};

/// How long one world may take by the machine's clock: beyond it, something in it spins.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What all of them came to.
#[derive(Debug, Default, Clone)]
pub struct Summary {
    pub seeds: u64,
    pub failed: Vec<Verdict>,
    pub simulated_seconds: f64,
    pub events: u64,
    pub entries: u64,
    pub runs: u64,
    pub effects: u64,
    pub crashes: u64,
    pub cpu_seconds: f64,
    pub wall: Duration,
}

impl Summary {
    fn add(&mut self, verdict: Verdict) {
        self.seeds += 1;
        self.simulated_seconds += verdict.seconds;
        self.events += verdict.events;
        self.entries += verdict.entries;
        self.runs += verdict.runs;
        self.effects += verdict.effects;
        self.crashes += verdict.crashes;
        self.cpu_seconds += verdict.cpu_seconds;
        if verdict.failure.is_some() {
            self.failed.push(verdict);
        }
    }

    pub fn words(&self) -> String {
        format!(
            "{} seeds, {} failed; {:.1} simulated hours, {} runs of runbooks, {} effects, {} deaths of processes, {} entries, {} messages; {:.0} s, {:.2} s of the processor a seed",
            self.seeds,
            self.failed.len(),
            self.simulated_seconds / 3_600.0,
            self.runs,
            self.effects,
            self.crashes,
            self.entries,
            self.events,
            self.wall.as_secs_f64(),
            self.cpu_seconds / (self.seeds.max(1) as f64),
        )
    }
}

/// How worlds are run.
#[derive(Debug, Clone)]
pub struct Driver {
    program: PathBuf,
    pub jobs: usize,
    /// Ends with the first failure.
    pub first: bool,
    /// Says on stderr how far it is.
    pub tells: bool,
    /// For each world, beside what it is given anyway.
    pub environment: Vec<(String, String)>,
    pub arguments: Vec<String>,
}

impl Driver {
    /// With this very program, or another build of it.
    pub fn new(program: Option<PathBuf>, jobs: Option<usize>) -> Result<Self> {
        let program = match program {
            Some(program) => program,
            None => std::env::current_exe().context("find this program")?,
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            program,
            jobs: jobs.unwrap_or(processors).max(1),
            first: false,
            tells: true,
            environment: Vec::new(),
            arguments: Vec::new(),
        })
    }

    pub fn seeds(&self, from: u64, count: u64) -> Result<Summary> {
        if count == 0 {
            bail!("no seed is no proof: ask for one at least");
        }
        let begun = Instant::now();
        let next = AtomicU64::new(from);
        let summary = Mutex::new(Summary::default());
        let told = Mutex::new(Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::SeqCst);
                        if seed >= from + count {
                            return;
                        }
                        let verdict = self.one(seed);
                        let failed =
                            verdict.failure.as_ref().map(|failure| format!("{}: {}", failure.invariant, failure.what));
                        let mut summary = summary.lock().expect("nothing panics while it adds");
                        summary.add(verdict);
                        if let Some(failed) = failed {
                            if self.tells {
                                eprintln!("seed {seed}: {failed}");
                            }
                            if self.first {
                                next.store(from + count, Ordering::SeqCst);
                            }
                        }
                        let mut told = told.lock().expect("nothing panics while it tells");
                        if self.tells && told.elapsed() > TELL_EVERY {
                            *told = Instant::now();
                            eprintln!(
                                "{} of {count} seeds, {} failed, {:.0} s",
                                summary.seeds,
                                summary.failed.len(),
                                begun.elapsed().as_secs_f64()
                            );
                        }
                    }
                });
            }
        });
        let mut summary = summary.into_inner().expect("nothing panics while it adds");
        summary.wall = begun.elapsed();
        summary.failed.sort_by_key(|verdict| verdict.seed);
        Ok(summary)
    }

    fn one(&self, seed: u64) -> Verdict {
        let arguments = ["--one".to_owned(), "--seed".to_owned(), seed.to_string()];
        self.ask(&arguments).unwrap_or_else(|error| broken(Plan::of(seed), &format!("{error:#}")))
    }

    /// A plan that is not, or not any more, the seed's own.
    pub fn plan(&self, plan: &Plan) -> Verdict {
        let run = || {
            let mut file = tempfile::NamedTempFile::new().context("make a file for the plan")?;
            file.write_all(&serde_json::to_vec(plan).context("write the plan")?).context("write the plan")?;
            file.flush().context("write the plan")?;
            self.ask(&["--one".to_owned(), "--plan".to_owned(), path(file.path())])
        };
        run().unwrap_or_else(|error| broken(plan.clone(), &format!("{error:#}")))
    }

    fn ask(&self, arguments: &[String]) -> Result<Verdict> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        let mut out = child.stdout.take().context("read the verdict")?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut out, &mut text).map(|_| text)
        });
        let mut error = child.stderr.take().context("read what it says")?;
        let talk = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut error, &mut text).map(|_| text)
        });
        let begun = Instant::now();
        while child.try_wait().context("wait for the world")?.is_none() {
            if begun.elapsed() > PATIENCE {
                child.kill().context("end a world that does not end")?;
                child.wait().context("wait for the world")?;
                bail!("the world does not come to its end within {PATIENCE:?}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let text = reader.join().map_err(|_| anyhow::anyhow!("the reader broke"))?.context("read the verdict")?;
        let talk = talk.join().map_err(|_| anyhow::anyhow!("the reader broke"))?.context("read what it says")?;
        serde_json::from_str(&text).with_context(|| format!("the world itself broke: {}", talk.trim()))
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// The simulation is at fault, which is a failure too.
fn broken(plan: Plan, what: &str) -> Verdict {
    Verdict::broken(plan, "simulation", what.to_owned(), 0.0, Vec::new())
}
