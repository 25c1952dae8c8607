//! The protocol against clients that know it: tiberius, python-tds, pymssql; and against whatever else may come.
//!
//! Apart from the simulator's engine: a toy stands behind the protocol, and everything else is real.

#[path = "../clients/authority.rs"]
mod authority;
#[path = "../clients/clients.rs"]
mod clients;
mod raw;
mod toy;

mod encryption;
mod conversation;
mod attention;
mod endings;
mod values;
mod garbage;
