//! A simulator that an unmodified client takes for SQL Server.
//!
//! Apart from the product, which must never depend on it: tests and labs use it where no SQL Server can be had. It must never
//! answer a statement that it does not understand with an empty success.

pub mod answer;
pub mod world;
pub mod sql;
pub mod directory;
pub mod instance;
pub mod control;
pub mod tds;
pub mod listening;
