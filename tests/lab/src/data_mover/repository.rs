//! A side's repository: a real PostgreSQL server on its server machine, with the jobs in it. It runs on both sides all the time.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::horizon::Endpoint;

pub const DATABASE: &str = "datamover";
pub const USER: &str = "datamover";

/// Where a repository is, as data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    pub address: SocketAddr,
    pub password: String,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{USER}@{}/{DATABASE}", self.address)
    }
}

/// A job as a repository has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub payload: String,
    pub host: String,
    pub epoch: i64,
    pub at_ns: i64,
}

impl Repository {
    /// As Data Mover logs in.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.address,
            database: DATABASE.to_owned(),
            user: USER.to_owned(),
            password: self.password.clone(),
        }
    }

    /// Makes role, database and tables on an empty server.
    pub async fn create(&self, superuser: &str) -> Result<()> {
        let server = Endpoint {
            address: self.address,
            database: "postgres".to_owned(),
            user: "postgres".to_owned(),
            password: superuser.to_owned(),
        };
        server.run("make the role", &format!("create role {USER} login password '{}'", self.password)).await?;
        server.run("make the database", &format!("create database {DATABASE} owner {USER}")).await?;
        let tables = "create table job(number bigint primary key, payload text not null, host text not null, epoch bigint not null, at_ns bigint not null);
                      create table unsynchronized(number bigint primary key);
                      create table setting(name text primary key, value text not null);
                      insert into setting values ('version', '20.01'), ('owner', 'the lab')";
        Ok(self.endpoint().run("make the tables", tables).await?)
    }

    /// Every job, by number.
    pub async fn jobs(&self) -> Result<BTreeMap<i64, Job>> {
        let client = self.endpoint().connect().await?;
        let rows = client.query("select number, payload, host, epoch, at_ns from job", &[]).await;
        let rows = rows.with_context(|| format!("read the jobs of {self:?}"))?;
        let job = |row: &tokio_postgres::Row| {
            let job = Job { payload: row.get(1), host: row.get(2), epoch: row.get(3), at_ns: row.get(4) };
            (row.get(0), job)
        };
        Ok(rows.iter().map(job).collect())
    }

    /// How many jobs wait to be synchronized.
    pub async fn unsynchronized(&self) -> Result<i64> {
        let client = self.endpoint().connect().await?;
        Ok(client.query_one("select count(*) from unsynchronized", &[]).await?.get(0))
    }
}
