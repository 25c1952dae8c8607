//! Teradata Data Mover as real processes with real PostgreSQL servers: the story, a death at every step of every runbook, and a judge
//! that sees two actives where there are two.

mod automatic;
mod crashes;
mod driver;
mod judge;
mod still_runs;
mod story;
mod way_back;
