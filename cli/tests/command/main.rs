//! The command as operators and scripts meet it: golden pictures, the real binary, and coordinators that answer over mTLS.

mod baton;
mod coordinator;
mod documents;

mod help;
mod pictures;
mod losing;
mod typing;
mod offline;
mod asking;
mod starting;
mod watching;
mod fetching;
