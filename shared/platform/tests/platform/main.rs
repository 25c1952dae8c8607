//! The platform as its users see it: files on disk, connections over loopback, signals to a process.

mod authority;
mod callers;
mod handshakes;
mod installation;
mod listening;
mod renewal;
mod signals;
mod telemetry;
