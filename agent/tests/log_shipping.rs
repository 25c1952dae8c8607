//! Backups, restores and log shipping against simulated instances of SQL Server, each a process that can be killed.

#[path = "log_shipping/world.rs"]
mod world;

#[path = "log_shipping/applying.rs"]
mod applying;
#[path = "log_shipping/backups.rs"]
mod backups;
#[path = "log_shipping/copying.rs"]
mod copying;
#[path = "log_shipping/restores.rs"]
mod restores;
#[path = "log_shipping/shipping.rs"]
mod shipping;

/// Not a test: the process of one instance (see [`world::World::start`]).
#[test]
#[ignore = "the process of one instance, started by the tests"]
fn instance_process() {
    world::be_instance();
}
