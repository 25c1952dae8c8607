//! T-SQL: from text to effects on a world and rows of an answer.
//!
//! Apart from the world, which knows no text, and from the protocol, which knows no statement.

pub mod token;
pub mod syntax;
pub mod parse;
