//! The engine from outside: state is built by applying commands, never by poking fields.

mod automatic;
mod dependencies;
mod golden;
mod leases;
mod limited;
mod many_hosts;
mod probes;
mod random;
mod samples;
mod stories;
mod transitions;
mod windows;
mod world;
