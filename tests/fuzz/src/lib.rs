//! Parsers against whatever bytes: real files and messages taken apart and put together wrongly, and noise.
//!
//! Apart from the crates whose parsers they are, because all of them are tried alike: for a time, with a seed that is printed, and with
//! more of what led somewhere new. It must never count a refusal as a find: what is looked for is a panic, an overflowed stack, and a
//! text that costs a parser seconds; and, where a target says so, something that does not come back as it was written.
//!
//! Read in this order:

pub mod chance;
pub mod mutation;
pub mod corpus;
pub mod target;
pub mod hunt;
