//! Proto ↔ model: one file for each family of messages, and the one place where an error becomes a status.
//!
//! Apart so that neither the wire contract nor the model knows the other. No logic lives here beyond the translation.

pub mod fault;
pub mod agent;
pub mod assignment;
