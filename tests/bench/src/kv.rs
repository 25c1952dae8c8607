//! The interface that both clusters serve, and the client that asks both in the same way.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use baton_platform::{address::Address, tls::Connector};
use bytes::Bytes;
use futures::future::try_join_all;
use tonic::{Status, transport::Channel};

use crate::sample::Sample;

tonic::include_proto!("etcdserverpb");

use kv_client::KvClient;
use maintenance_client::MaintenanceClient;

/// What is written: of the size of a small command of Baton.
pub const VALUE_BYTES: usize = 256;
/// So many keys are written again and again, in both clusters.
const KEYS: usize = 1000;
/// A call that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster as its clients see it.
pub struct Service {
    pub name: &'static str,
    connector: Connector,
    addresses: Vec<Address>,
}

/// What one client asks for, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Put,
    /// Linearizable.
    Get,
}

/// What one window of time came to.
pub struct Window {
    pub per_second: f64,
    pub times: Sample,
}

impl Service {
    pub fn new(name: &'static str, connector: Connector, addresses: Vec<Address>) -> Self {
        Self { name, connector, addresses }
    }

    /// A client of the node at `number`, with a connection of its own.
    pub fn client(&self, number: usize) -> KvClient<Channel> {
        KvClient::new(self.connector.channel(&self.addresses[number]))
    }

    pub async fn status(&self, number: usize) -> Result<StatusResponse, Status> {
        let mut client = MaintenanceClient::new(self.connector.channel(&self.addresses[number]));
        let asked = tokio::time::timeout(Duration::from_secs(1), client.status(StatusRequest {}));
        Ok(asked.await.map_err(|_| Status::deadline_exceeded("no answer"))??.into_inner())
    }

    /// Which node leads; waits for one.
    pub async fn leader(&self, within: Duration) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let mut last = None;
            for number in 0..self.addresses.len() {
                match self.status(number).await {
                    Ok(status) if status.leader != 0 && status.header.is_some_and(|h| h.member_id == status.leader) => {
                        return Ok(number);
                    }
                    Ok(_) => {}
                    Err(status) => last = Some(status),
                }
            }
            if begun.elapsed() > within {
                bail!("{} has no leader within {within:?}; the last answer: {last:?}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clients of the leader, each with its connection made.
    pub async fn clients(&self, many: usize) -> Result<Vec<KvClient<Channel>>> {
        let begun = Instant::now();
        loop {
            let leader = self.leader(Duration::from_secs(30)).await?;
            let made = (0..many).map(|number| async move {
                let mut client = self.client(leader);
                ask(&mut client, Work::Put, number).await?;
                Ok::<_, Status>(client)
            });
            match try_join_all(made).await {
                Ok(clients) => return Ok(clients),
                // A leader that has just been elected may not be sure of its followers yet.
                Err(_) if begun.elapsed() < Duration::from_secs(30) => {
                    tokio::time::sleep(Duration::from_millis(50)).await
                }
                Err(status) => return Err(status).with_context(|| format!("write to {}", self.name)),
            }
        }
    }
}

/// One call.
pub async fn ask(client: &mut KvClient<Channel>, work: Work, number: usize) -> Result<(), Status> {
    let key = Bytes::from(format!("key{:04}", number % KEYS));
    let asked = async {
        match work {
            Work::Put => {
                let value = Bytes::from_static(&[0x42; VALUE_BYTES]);
                client.put(PutRequest { key, value }).await.map(drop)
            }
            Work::Get => client.range(RangeRequest { key }).await.map(drop),
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.map_err(|_| Status::deadline_exceeded("no answer"))?
}

/// Every client asks again as soon as it is answered, for so long.
pub async fn window(clients: &[KvClient<Channel>], work: Work, length: Duration) -> Result<Window> {
    let begun = Instant::now();
    let tasks: Vec<_> = clients
        .iter()
        .cloned()
        .enumerate()
        .map(|(which, mut client)| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut number = which * 7919;
                while begun.elapsed() < length {
                    let at = Instant::now();
                    ask(&mut client, work, number).await?;
                    times.push(at.elapsed());
                    number += 1;
                }
                Ok::<_, Status>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.context("run a client")?.context("ask")?);
    }
    Ok(Window { per_second: times.len() as f64 / begun.elapsed().as_secs_f64(), times: Sample::of(times) })
}
