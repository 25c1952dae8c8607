//! The loopback addresses of a world, so that several worlds can run on one machine at the same time.
//!
//! A world owns `127.X.Y.0/24`. It holds a listening socket on the last address as its claim: the kernel gives
//! the claim back when the lab dies, however it dies.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rand::RngExt;

use super::Error;

/// The last byte of the address that holds the claim.
const CLAIM_HOST: u8 = 254;
/// Where PostgreSQL listens, if these are free on all addresses; the first is the vendor's.
const DATABASE_PORTS: [u16; 3] = [5432, 15432, 25432];
/// The ports of the services on every appliance.
const SERVICE_PORTS: [u16; 3] = [8080, 8081, 8082];

/// A claimed range of loopback addresses.
#[derive(Debug)]
pub struct Network {
    prefix: [u8; 2],
    port: u16,
    // Held for the claim.
    _claim: TcpListener,
}

impl Network {
    /// Claims `127.X.Y.0/24`.
    pub fn claim(x: u8, y: u8) -> Result<Self, Error> {
        let refused = |reason: String| Error::Network { reason };
        let claim = TcpListener::bind((Ipv4Addr::new(127, x, y, CLAIM_HOST), DATABASE_PORTS[0] - 1))
            .map_err(|error| refused(format!("127.{x}.{y}.0/24 is another world's ({error})")))?;
        let free = |port: u16| (1..=4).all(|host| TcpListener::bind((Ipv4Addr::new(127, x, y, host), port)).is_ok());
        if let Some(port) = SERVICE_PORTS.iter().find(|port| !free(**port)) {
            return Err(refused(format!("port {port} is taken on 127.{x}.{y}.1-4")));
        }
        let port = DATABASE_PORTS.iter().copied().find(|port| free(*port));
        let port = port.ok_or_else(|| refused(format!("ports {DATABASE_PORTS:?} are taken on 127.{x}.{y}.1-4")))?;
        Ok(Self { prefix: [x, y], port, _claim: claim })
    }

    /// Claims a free range by chance, as a test does that runs beside others.
    pub fn claim_any() -> Result<Self, Error> {
        let mut last = None;
        for _ in 0..50 {
            let (x, y) = (rand::rng().random_range(64..=127), rand::rng().random_range(1..=250));
            match Self::claim(x, y) {
                Ok(network) => return Ok(network),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::Network { reason: "none was tried".into() }))
    }

    /// The address of host number `host` (1 to 4).
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.prefix[0], self.prefix[1], host)
    }

    /// Where the database servers listen.
    pub fn database_port(&self) -> u16 {
        self.port
    }

    /// The database server of host number `host`.
    pub fn database(&self, host: u8) -> SocketAddr {
        SocketAddr::from((self.address(host), self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_range_is_refused_until_it_is_given_back() {
        let first = Network::claim_any().unwrap();
        let [x, y] = first.prefix;
        assert!(matches!(Network::claim(x, y), Err(Error::Network { .. })));
        drop(first);
        assert_eq!(Network::claim(x, y).unwrap().address(2), Ipv4Addr::new(127, x, y, 2));
    }

    #[test]
    fn another_port_is_chosen_where_the_vendors_is_taken() {
        let first = Network::claim_any().unwrap();
        let ([x, y], third) = (first.prefix, first.address(3));
        drop(first);
        let _taken = TcpListener::bind((third, 5432)).unwrap();
        assert_eq!(Network::claim(x, y).unwrap().database_port(), 15432);
    }
}
