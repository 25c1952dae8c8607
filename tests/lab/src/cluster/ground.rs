//! What an installation stands on: its coordinators' addresses, its pace, and how a program gets to its place.
//!
//! Apart because the same installation stands on loopback addresses, where nothing is ever cut, and in network namespaces, where
//! everything can be. It must never know what runs there.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use super::PORT;

/// Host number of the first coordinator in a world's range of loopback addresses.
const FIRST_COORDINATOR: u8 = 201;

type Enter = Box<dyn Fn(&str, &Path) -> Command + Send + Sync>;

/// See the module.
pub struct Ground {
    pub coordinators: [SocketAddr; 3],
    /// The tables `raft` and `delivery` of every coordinator.
    pub pace: String,
    /// Beginning of the command that runs a program at the place of this name; here, without it.
    enter: Option<Enter>,
}

impl Ground {
    /// `127.X.Y.201` to `203`.
    pub fn loopback(network: [u8; 2]) -> Self {
        let address = |number| Ipv4Addr::new(127, network[0], network[1], FIRST_COORDINATOR + number);
        Self {
            coordinators: [0, 1, 2].map(|number| SocketAddr::from((address(number), PORT))),
            pace: "[delivery]\nunreachable_after_ms = 5000\n".to_owned(),
            enter: None,
        }
    }

    /// Elsewhere.
    pub fn at(
        coordinators: [SocketAddr; 3],
        pace: String,
        enter: impl Fn(&str, &Path) -> Command + Send + Sync + 'static,
    ) -> Self {
        Self { coordinators, pace, enter: Some(Box::new(enter)) }
    }

    pub(super) fn command(&self, place: &str, program: &Path) -> Command {
        self.enter.as_ref().map_or_else(|| Command::new(program), |enter| enter(place, program))
    }
}
