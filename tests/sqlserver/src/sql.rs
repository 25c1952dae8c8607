//! T-SQL: from text to effects on a world and rows of an answer.
//!
//! Apart from the world, which knows no text, and from the protocol, which knows no statement.

pub mod token;
pub mod syntax;
pub mod parse;
pub mod value;
pub mod rows;
pub mod session;
pub mod reader;
pub mod evaluate;
pub mod function;
pub mod select;
pub mod view;
pub mod table;
pub mod batch;
pub mod run;
pub mod procedure;
pub mod shipping;
pub mod backup;
