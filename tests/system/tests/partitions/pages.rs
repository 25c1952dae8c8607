//! What coordinators tell load balancers while the primary is cut off: never two at once, and never one that nobody hears.

use anyhow::ensure;
use baton_lab::namespaces::{
    Options, World,
    network::COORDINATORS,
    world::{TIMES, until},
};

use crate::{Told, world_with};

const PORT: u16 = 7410;

/// Whom each coordinator calls primary now. It is asked of both hosts in turn; the second answer is the later one.
fn primaries(world: &World, coordinator: &str) -> Vec<&'static str> {
    let is_primary = |host: &&str| {
        let path = format!("/groups/svc/primary/{host}");
        let (status, body) = world.page(coordinator, PORT, &path).expect("the page is there");
        assert_eq!(body["primary"], status == 200, "{status}: {body}");
        status == 200
    };
    ["h2", "h1"].into_iter().filter(is_primary).collect()
}

#[test]
fn every_coordinator_tells_load_balancers_who_serves_and_never_two() {
    let times = format!("{TIMES}\n[http]\nlisten = \"127.0.0.1:{PORT}\"\n");
    let mut world = world_with(&Options { times: Some(times), ..Options::default() });
    let epoch = world.until_active("h1").told();
    for coordinator in COORDINATORS {
        until("h1 is primary on every page", || {
            let found = primaries(&world, coordinator);
            ensure!(found == ["h1"], "{coordinator}: {found:?}");
            Ok(())
        })
        .told();
        assert_eq!(world.page(coordinator, PORT, "/health").expect("a page").0, 200);
        assert_eq!(world.page(coordinator, PORT, "/groups/svc/standby/h2").expect("a page").0, 200);
        assert_eq!(world.page(coordinator, PORT, "/groups/other/primary").expect("a page").0, 404);
    }
    for coordinator in COORDINATORS {
        world.network.cut("h1", coordinator).told();
    }
    // h2 is asked before h1: were it called primary first, h1's answer would be the later one.
    let mut nobody = 0;
    until("h2 is primary on every page", || {
        let found: Vec<Vec<&str>> = COORDINATORS.iter().map(|coordinator| primaries(&world, coordinator)).collect();
        for of_one in &found {
            assert!(of_one.len() < 2, "two are called primary: {found:?}");
        }
        nobody += usize::from(found.iter().all(Vec::is_empty));
        ensure!(found.iter().all(|of_one| of_one == &["h2"]), "{found:?}");
        Ok(())
    })
    .told();
    assert!(nobody > 0, "while nobody could tell, nobody was called primary");
    let (status, body) = world.page("c1", PORT, "/groups/svc/primary/h1").expect("a page");
    assert_eq!((status, body["why_not"].as_str()), (503, Some("another member is primary")), "{body}");
    assert_eq!(world.until_active("h2").told(), epoch + 1);
    world.judge().told();
}
