//! One step over a thousand agents: from the operator's word to the last outcome committed.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    crowd::{self, Crowd, host},
    installation::{Installation, binaries},
    limits,
    sample::Sample,
    table::{Report, Row},
};

const NAME: &str = "fanout";
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// How many agents, each with a session to all three coordinators.
    #[arg(long, default_value_t = 1000)]
    pub agents: usize,
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
}

pub async fn run(options: Options, directory: &Path, report: &mut Report) -> Result<()> {
    let Options { agents, rounds } = options;
    ensure!(agents >= 2, "--agents must be at least 2");
    limits::raise_open_files(agents as u64 * 3 + 500)?;
    let installation = Installation::start(directory, binaries()?)?;
    let ground = installation.ground.path();
    let identities = crowd::identities(&ground.join("baton/ca"), &ground.join("agents"), 0, agents)?;
    installation.define(
        "many",
        &group(agents),
        "runbook: work\nsteps:\n  - on: everywhere\n    exec.run: { argv: [/bin/true] }\n",
    )?;
    let crowd = Crowd::new();
    crowd.join(&identities, &installation.addresses)?;
    crowd.wait("every session", PATIENCE, |tally| tally.welcomed == agents * 3).await?;
    crowd.wait("every agent obeys the leader", PATIENCE, |tally| tally.acknowledged >= agents).await?;
    let mut operator = installation.operator()?;
    let (mut all, mut accepted, mut ordered) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let planned = operator.plan("many").await?;
        let before = crowd.tally();
        let begun = Instant::now();
        let started = operator.start(planned);
        let orders = crowd.wait("every order", PATIENCE, |tally| tally.ordered >= before.ordered + agents);
        let outcomes = crowd.wait("every outcome", PATIENCE, |tally| tally.forgotten >= before.forgotten + agents);
        let started = async { started.await.map(|run| (run, Instant::now())) };
        let ((run, answered), orders, outcomes) = tokio::try_join!(started, orders, outcomes)?;
        operator.wait(&run, PATIENCE).await?;
        accepted.push(answered - begun);
        ordered.push(orders - begun);
        all.push(outcomes - begun);
        let after = crowd.tally();
        ensure!(
            after.ordered == before.ordered + agents,
            "{} orders for {agents} tasks",
            after.ordered - before.ordered
        );
        ensure!(after.lost == 0, "{} sessions were lost", after.lost);
    }
    let repeated = crowd.tally().repeated;
    if repeated > 0 {
        report
            .notes
            .push(format!("fanout: {repeated} outcomes were told again, 3 s after they had not been committed"));
    }
    let sample = Sample::of(all);
    let what = |what: &str| format!("{agents} agents, start → {what}");
    report.rows.push(Row::new(NAME, what("the run is accepted, median"), Sample::of(accepted).median(), "ms"));
    report.rows.push(Row::new(NAME, what("the last order arrives, median"), Sample::of(ordered).median(), "ms"));
    let row = Row::new(NAME, what("the last outcome committed, median"), sample.median(), "ms");
    report.rows.push(if agents == 1000 { row.at_most(1000.0, "ms") } else { row });
    report.rows.push(Row::new(NAME, what("the last outcome committed, slowest"), sample.max(), "ms"));
    crowd.leave().await;
    Ok(())
}

fn group(agents: usize) -> String {
    let mut text = format!(
        "group: many\nprimary: a\nmembers:\n  a: {{ hosts: {{ main: {} }} }}\n  b: {{ hosts: {{ main: {} }} }}\nroles:\n  everywhere: [",
        host(0),
        host(1)
    );
    let names: Vec<String> = (0..agents).map(host).collect();
    let _ = writeln!(text, "{}]\nhosts:", names.join(", "));
    for name in names {
        let _ = writeln!(text, "  {name}: {{ address: 127.0.0.1 }}");
    }
    text.push_str("runbooks:\n  work: work.yaml\n");
    text
}
