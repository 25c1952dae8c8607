//! Three etcd servers with mutual TLS and their own defaults, where etcd is installed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use baton_lab::processes::Daemon;
use baton_platform::address::Address;

use crate::{ground::Ground, kv::Service};

const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;
const FIRST_HOST: u8 = 111;

/// Dropped, they are killed.
pub struct Etcd {
    addresses: Vec<SocketAddr>,
    _daemons: Vec<Daemon>,
}

/// The program, if it is installed.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("etcd")).find(|program| program.is_file())
}

/// What it says of itself: `etcd Version: 3.4.23`.
pub fn version(program: &Path) -> Result<String> {
    let said = Command::new(program).arg("--version").output().context("ask etcd for its version")?;
    Ok(String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned())
}

impl Etcd {
    pub fn start(ground: &Ground, program: &Path) -> Result<Self> {
        let addresses: Vec<SocketAddr> = (0..3).map(|number| ground.address(FIRST_HOST + number, CLIENTS)).collect();
        let url = |address: &SocketAddr, port: u16| format!("https://{}:{port}", address.ip());
        let cluster: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(number, address)| format!("e{}={}", number + 1, url(address, PEERS)))
            .collect();
        let mut daemons = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let name = format!("e{}", number + 1);
            let identity = ground.server_identity(&name, *address)?;
            let file = |file: &str| identity.join(file).display().to_string();
            let mut command = Command::new(program);
            for (option, value) in [
                ("--name", name.clone()),
                ("--data-dir", ground.path().join(&name).display().to_string()),
                ("--listen-client-urls", url(address, CLIENTS)),
                ("--advertise-client-urls", url(address, CLIENTS)),
                ("--listen-peer-urls", url(address, PEERS)),
                ("--initial-advertise-peer-urls", url(address, PEERS)),
                ("--initial-cluster", cluster.join(",")),
                ("--initial-cluster-state", "new".to_owned()),
                ("--cert-file", file("cert.pem")),
                ("--key-file", file("key.pem")),
                ("--trusted-ca-file", file("ca.pem")),
                ("--peer-cert-file", file("cert.pem")),
                ("--peer-key-file", file("key.pem")),
                ("--peer-trusted-ca-file", file("ca.pem")),
                ("--logger", "zap".to_owned()),
            ] {
                command.arg(option).arg(value);
            }
            command.args(["--client-cert-auth", "--peer-client-cert-auth"]);
            let log = ground.path().join(format!("{name}.log"));
            daemons.push(Daemon::start(&ground.registry, &name, None, command, &log)?);
        }
        Ok(Self { addresses, _daemons: daemons })
    }

    pub fn service(&self, ground: &Ground) -> Result<Service> {
        Ok(Service::new("etcd", ground.connector()?, self.addresses.iter().copied().map(Address::from).collect()))
    }
}
