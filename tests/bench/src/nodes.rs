//! Three nodes of the log, each a process of its own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use baton_lab::processes::Daemon;
use baton_platform::address::Address;

use crate::{ground::Ground, kv::Service};

const PORT: u16 = 7401;
const FIRST_HOST: u8 = 101;

/// Dropped, they are killed.
pub struct Nodes {
    addresses: Vec<SocketAddr>,
    identities: Vec<PathBuf>,
    daemons: Vec<Option<Daemon>>,
}

impl Nodes {
    pub fn start(ground: &Ground) -> Result<Self> {
        let addresses: Vec<SocketAddr> = (0..3).map(|number| ground.address(FIRST_HOST + number, PORT)).collect();
        let identities = addresses
            .iter()
            .enumerate()
            .map(|(number, address)| ground.server_identity(&format!("c{}", number + 1), *address))
            .collect::<Result<_>>()?;
        let mut nodes = Self { addresses, identities, daemons: vec![None, None, None] };
        for number in 0..3 {
            nodes.start_one(ground, number)?;
        }
        Ok(nodes)
    }

    pub fn start_one(&mut self, ground: &Ground, number: usize) -> Result<()> {
        let name = format!("c{}", number + 1);
        let members: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("node").arg("--id").arg((number + 1).to_string());
        command.arg("--identity").arg(&self.identities[number]);
        command.arg("--data").arg(ground.path().join(&name));
        command.arg("--members").arg(members.join(","));
        if number == 0 {
            command.arg("--bootstrap");
        }
        let log = ground.path().join(format!("{name}.log"));
        self.daemons[number] = Some(Daemon::start(&ground.registry, &name, None, command, &log)?);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut daemon) = self.daemons[number].take() {
            daemon.kill();
        }
    }

    pub fn service(&self, ground: &Ground) -> Result<Service> {
        Ok(Service::new("baton-log", ground.connector()?, self.addresses.iter().copied().map(Address::from).collect()))
    }

    /// Waits until every node has applied what the leader has.
    pub async fn wait_until_level(&self, service: &Service, within: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let leader = service.leader(within).await?;
            let wanted = service.status(leader).await?.raft_index;
            let mut level = true;
            for number in 0..3 {
                let status = service.status(number).await;
                level &= status.is_ok_and(|status| status.raft_index >= wanted && status.leader == leader as u64 + 1);
            }
            if level {
                return Ok(());
            }
            if begun.elapsed() > within {
                bail!("the nodes are not level within {within:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
