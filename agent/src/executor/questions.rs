//! What a coordinator asks without ordering anything: dry runs, and samples while this host lives.

use baton_model::{
    action::Action,
    outcome::{Fault, Observation},
    time::Span,
};
use baton_proto::v1::{self as pb, from_agent::Message as Up};
use baton_wire::agent as wire;

use super::{Executor, attempt};

impl Executor {
    /// As a dry run, and bounded with them: no order, nothing in the journal.
    pub(super) fn sample(&mut self, from: String, request: u64, action: Result<Action, Fault>, timeout: Span) {
        let Some(up) = self.sessions.get(&from).cloned() else { return };
        if self.observing.len() >= self.options.observations_max {
            let fault = Fault::new("BTN-0438", "this agent has too many dry runs at once", "Plan again in a moment.");
            return self.send(&from, Up::Sampled(wire::sampled(request, &Err(fault))));
        }
        let options = self.options.clone();
        self.observations += 1;
        self.observing.spawn(self.observations, async move {
            let answer = match action {
                Ok(action) => attempt::sample(&options, &action, timeout.to_std()).await,
                Err(fault) => Err(fault),
            };
            let _ = up.send(pb::FromAgent { message: Some(Up::Sampled(wire::sampled(request, &answer))) }).await;
        });
    }

    pub(super) fn observe(&mut self, from: String, request: u64, action: Result<Action, Fault>, timeout: Span) {
        let Some(up) = self.sessions.get(&from).cloned() else { return };
        if self.observing.len() >= self.options.observations_max {
            let fault = Fault::new("BTN-0438", "this agent has too many dry runs at once", "Plan again in a moment.");
            return self.send(&from, Up::Observed(wire::observed(request, &Err(fault))));
        }
        let options = self.options.clone();
        self.observations += 1;
        self.observing.spawn(self.observations, async move {
            let answer: Result<Observation, Fault> = match action {
                Ok(action) => attempt::dry_run(&options, &action, timeout.to_std()).await,
                Err(fault) => Err(fault),
            };
            let _ = up.send(pb::FromAgent { message: Some(Up::Observed(wire::observed(request, &answer))) }).await;
        });
    }
}
