//! Real coordinators, agents and the `baton` command as processes: what an installation must keep, told as stories.

mod crashes;
mod damage;
mod first_step;
mod handover;
mod left_out;
mod leases;
mod limited;
mod loss;
mod misuse;
mod moved_plans;
mod newer_entry;
mod real_loss;
mod rolling;
mod secrets;
mod stale_orders;
mod unreachable;
mod windows;
mod words;
