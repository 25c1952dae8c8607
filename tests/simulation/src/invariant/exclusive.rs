//! What is exclusive and has a lease runs on the hosts of one member at a time, in true time.

use super::Violation;
use crate::{ground::Ground, product::EXCLUSIVE};

pub fn check(ground: &Ground) -> Option<Violation> {
    for (group, service, members) in EXCLUSIVE {
        let serving = members.iter().filter(|hosts| hosts.iter().any(|host| ground.runs(host, service))).count();
        if serving > 1 {
            let on: Vec<&str> = members
                .iter()
                .flat_map(|hosts| hosts.iter())
                .filter(|host| ground.runs(host, service))
                .copied()
                .collect();
            return Some(Violation::new(
                "exclusive",
                format!("{service} of {group} runs on {} at once", on.join(" and ")),
            ));
        }
    }
    None
}
