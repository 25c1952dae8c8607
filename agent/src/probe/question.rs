//! A port, a page, a program: what waits and readiness ask too, asked once.
//!
//! Apart because the questions are theirs (`action/wait/probe.rs`); here is only what an answer means for a component.

use baton_model::action::wait;

use super::Answer;
use crate::action::{Context, wait::probe};

pub(super) struct Question(pub(super) wait::Probe);

impl Question {
    pub(super) async fn ask(&self, context: &Context) -> Answer {
        match probe::ask_within(&self.0, context.time_left(), context).await {
            probe::Answer::Yes(seen) => Answer::Healthy(seen),
            // Somebody ended the question.
            probe::Answer::NotYet(seen) if context.cancel_token().is_cancelled() => Answer::CannotTell(seen),
            probe::Answer::Refused(seen) | probe::Answer::NotYet(seen) => Answer::Unhealthy(seen),
            probe::Answer::Unasked(seen) => Answer::CannotTell(seen),
        }
    }
}
