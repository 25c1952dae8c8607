//! An installation of the shipped programs, and an operator who plans and starts runs in it.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use baton_lab::cluster::{Binaries, Cluster};
use baton_platform::{address::Address, identity::Role};
use baton_proto::v1::{GetRequest, PlanRequest, StartRequest, operator_client::OperatorClient};
use serde_json::Value;
use tonic::transport::Channel;

use crate::ground::{self, Ground};

const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Three coordinators and the operator. Dropped, the processes are killed.
pub struct Installation {
    pub cluster: Cluster,
    pub addresses: Vec<Address>,
    pub ground: Ground,
}

impl Installation {
    pub fn start(directory: &Path, binaries: Binaries) -> Result<Self> {
        let ground = Ground::take(directory)?;
        let folder = ground.path().join("baton");
        let cluster = Cluster::start(&ground.registry, &folder, ground.range(), binaries)?;
        let environment = cluster.environment();
        let listed = environment.iter().find(|(variable, _)| variable == "BATON_COORDINATORS");
        let listed =
            listed.map(|(_, value)| value.as_str()).context("the lab does not say where its coordinators are")?;
        let addresses = listed
            .split(',')
            .map(|address| address.parse::<Address>().map_err(|error| anyhow::anyhow!("{error}")))
            .collect::<Result<_>>()?;
        Ok(Self { cluster, addresses, ground })
    }

    /// The process of coordinator `number` (from 0).
    pub fn coordinator_pid(&self, number: usize) -> Result<i32> {
        let configuration = format!("/c{}/coordinator.toml", number + 1);
        let members = self.ground.registry.members()?;
        let found = members.iter().find(|process| process.command.iter().any(|word| word.ends_with(&configuration)));
        found.map(|process| process.id.pid).with_context(|| format!("coordinator {number} does not run"))
    }

    pub fn agent_pid(&self, host: &str) -> Result<i32> {
        let configuration = format!("/{host}/agent.toml");
        let members = self.ground.registry.members()?;
        let found = members.iter().find(|process| process.command.iter().any(|word| word.ends_with(&configuration)));
        found.map(|process| process.id.pid).with_context(|| format!("the agent of {host} does not run"))
    }

    /// Writes a group's file and its one runbook's, and applies them.
    pub fn define(&self, group: &str, text: &str, runbook: &str) -> Result<()> {
        let file = self.ground.path().join(format!("{group}.yaml"));
        std::fs::write(&file, text)?;
        std::fs::write(self.ground.path().join("work.yaml"), runbook)?;
        let said = self.cluster.baton(&["apply", &file.display().to_string()])?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(said.status.success(), "baton apply: {}{}", text(&said.stdout), text(&said.stderr));
        Ok(())
    }

    /// Talks to the coordinator that leads now.
    pub fn operator(&self) -> Result<Operator> {
        let identity = self.cluster.operator("operator", Role::Admin)?;
        let leader = self.cluster.leader()?;
        let channel = ground::connector(&identity)?.channel(&self.addresses[leader]);
        let client = OperatorClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Operator { client: client.max_encoding_message_size(MESSAGE_BYTES_MAX) })
    }
}

/// See [`Installation::operator`].
pub struct Operator {
    client: OperatorClient<Channel>,
}

impl Operator {
    /// Plans runbook `work`: what is then started.
    pub async fn plan(&mut self, group: &str) -> Result<StartRequest> {
        let wish = PlanRequest { group: group.to_owned(), runbook: "work".to_owned(), ..PlanRequest::default() };
        let document = self.client.plan(wish.clone()).await.context("plan")?.into_inner().document;
        let view: Value = serde_json::from_slice(&document).context("read the plan")?;
        let digest = view["digest"].as_str().context("the plan has no digest")?.to_owned();
        Ok(StartRequest { plan: Some(wish), digest, ..StartRequest::default() })
    }

    /// The run's id.
    pub async fn start(&mut self, request: StartRequest) -> Result<String> {
        Ok(self.client.start(request).await.context("start")?.into_inner().run)
    }

    /// Waits until a run has succeeded.
    pub async fn wait(&mut self, run: &str, within: Duration) -> Result<()> {
        let begun = std::time::Instant::now();
        loop {
            let get = GetRequest { kind: "run".to_owned(), name: run.to_owned() };
            let document = self.client.get(get).await.context("get the run")?.into_inner().json;
            let view: Value = serde_json::from_slice(&document)?;
            let phase = &view["phase"];
            match phase.as_str().or_else(|| phase["phase"].as_str()) {
                Some("succeeded") => return Ok(()),
                Some("running") if begun.elapsed() < within => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => bail!("run {run} has not succeeded: {phase}"),
            }
        }
    }
}

/// The programs, built in the same way as this one by the cargo that started it.
pub fn binaries() -> Result<Binaries> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        eprintln!("building the programs");
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--bins", "-p", "baton-coordinator", "-p", "baton-agent", "-p", "baton-cli"]);
        command.args(["-p", "baton-lab"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let built = command.status().context("run cargo build")?;
        ensure!(built.success(), "cargo build ended with {built}");
    }
    Binaries::beside_this()
}
