//! The engine from outside: state is built by applying commands, never by poking fields.

mod golden;
mod random;
mod stories;
mod transitions;
mod world;
