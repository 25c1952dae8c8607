//! Where a benchmark happens: a folder on a real disk, a range of loopback addresses, an authority for certificates, and
//! a registry of the processes, so that whatever happens none of them is left.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use baton_lab::{horizon::Network, processes::Registry};
use baton_platform::{
    ca::{CertificateAuthority, CreateOptions, IssueOptions},
    clock::SystemClock,
    dial::TcpDial,
    identity::{Name, Role},
    tls::{ConnectOptions, Connector, ReloadableTls},
};

/// See the module. Dropped, its processes are ended and its folder is removed.
pub struct Ground {
    pub registry: Registry,
    network: Network,
    folder: tempfile::TempDir,
}

impl Ground {
    /// In `parent`, which must be on the disk that is meant.
    pub fn take(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("baton-bench-")
            .tempdir_in(parent)
            .with_context(|| format!("make a folder in {}", parent.display()))?;
        let (registry, _) = Registry::begin(folder.path())?;
        Ok(Self { registry, network: Network::claim_any()?, folder })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The two middle bytes of the range of addresses.
    pub fn range(&self) -> [u8; 2] {
        let octets = self.network.address(1).octets();
        [octets[1], octets[2]]
    }

    /// Host number `host` of the range.
    pub fn address(&self, host: u8, port: u16) -> SocketAddr {
        let [x, y] = self.range();
        SocketAddr::from((Ipv4Addr::new(127, x, y, host), port))
    }

    pub fn authority(&self) -> Result<CertificateAuthority> {
        let path = self.path().join("ca");
        if path.exists() {
            return Ok(CertificateAuthority::open(&path)?);
        }
        Ok(CertificateAuthority::create(&path, &CreateOptions::named(name("baton-bench")?), &SystemClock::new())?)
    }

    /// The folder of a certificate for a server at `address`.
    pub fn server_identity(&self, server: &str, address: SocketAddr) -> Result<PathBuf> {
        let folder = self.path().join("identities").join(server);
        fs::create_dir_all(self.path().join("identities"))?;
        // Calls within 127.0.0.0/8 come from 127.0.0.1, and etcd compares that with its peers' certificates.
        let addresses = [address.ip().to_string(), "127.0.0.1".to_owned()];
        self.authority()?
            .issue_coordinator(&name(server)?, &addresses, &IssueOptions::default(), &SystemClock::new())?
            .write(&folder)?;
        Ok(folder)
    }

    /// Connections with an operator's certificate.
    pub fn connector(&self) -> Result<Connector> {
        let folder = self.path().join("identities").join("client");
        if !folder.exists() {
            fs::create_dir_all(self.path().join("identities"))?;
            self.authority()?
                .issue_operator(&name("client")?, Role::Admin, &IssueOptions::default(), &SystemClock::new())?
                .write(&folder)?;
        }
        connector(&folder)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(error) = self.registry.sweep() {
            eprintln!("processes of the benchmark may be left: {error}");
        }
    }
}

/// Connections with the certificate in this folder.
pub fn connector(identity: &Path) -> Result<Connector> {
    let tls = ReloadableTls::load(identity)?;
    Ok(Connector::new(Arc::new(TcpDial), tls, ConnectOptions::default()))
}

pub fn name(text: &str) -> Result<Name> {
    text.parse().map_err(|error| anyhow::anyhow!("{error}"))
}
