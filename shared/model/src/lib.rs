//! What things are: ids, fences, groups, runbooks, plans, orders, reports.
//!
//! Pure. This crate knows no runtime, no wire, no clock, no randomness and no files, so that every decision made over
//! these types can be tested by calling a function. Read in this order:

pub mod action;
pub mod assignment;
pub mod author;
pub mod bill;
pub mod check;
pub mod diagnostic;
pub mod digest;
pub mod expression;
pub mod fence;
pub mod group;
pub mod ids;
pub mod order;
pub mod outcome;
pub mod parse;
pub mod plan;
pub mod runbook;
pub mod schema;
pub mod text;
pub mod time;
pub mod yaml;

pub mod view;
