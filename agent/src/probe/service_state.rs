//! What a service's manager says of it, and systemd's word the moment something changes.
//!
//! Apart because it keeps a line to systemd open between two questions, and has it made anew when the bus went away. It must never
//! take a manager that cannot be asked, or a unit that it does not know, for a service that is down.

use baton_model::{action::service::Manager, group::ServiceProbe};

use super::Answer;
use crate::{
    action::Context,
    host::services::{self, ServiceManager, State, systemd::Changes},
};

pub(super) struct ServiceState {
    name: String,
    manager: Manager,
    line: Option<Line>,
    /// It ran when it was asked last, and systemd said so.
    ran: bool,
}

/// To a manager that tells of changes.
struct Line {
    door: Box<dyn ServiceManager>,
    changes: Changes,
    /// What was said last.
    said: String,
}

impl ServiceState {
    pub(super) fn new(probe: &ServiceProbe) -> Self {
        Self { name: probe.name.clone(), manager: probe.manager.clone(), line: None, ran: false }
    }

    pub(super) async fn ask(&mut self, context: &Context) -> Answer {
        let asked = async {
            // A line that broke since the last question says nothing about the service: once more, on a new one.
            if self.line.is_some()
                && let Ok(state) = self.state(context).await
            {
                return Ok(state);
            }
            self.line = None;
            self.state(context).await
        };
        let state = tokio::select! {
            state = asked => state,
            () = context.cancelled() => {
                self.line = None;
                return Answer::CannotTell(format!("its manager did not answer in time about {}", self.name));
            }
        };
        let state = match state {
            Ok(state) => state,
            Err(why) => {
                self.line = None;
                return Answer::CannotTell(why);
            }
        };
        // systemd knows of its main process what a script can only guess.
        let told = self.line.is_some();
        let ran = std::mem::replace(&mut self.ran, told && matches!(state, State::Running(_)));
        match state {
            State::Running(seen) => Answer::Healthy(seen),
            State::Stopped(seen) if told && ran => Answer::Died(seen),
            State::Stopped(seen) | State::Changing(seen) => Answer::Unhealthy(seen),
            State::Unknown(seen) | State::Missing(seen) => Answer::CannotTell(seen),
        }
    }

    /// Listens before it looks, so that no change falls between.
    async fn state(&mut self, context: &Context) -> Result<State, String> {
        if self.line.is_none() {
            let door = services::manager(&self.manager, context).await.map_err(|fault| fault.to_string())?;
            match door.changes(&self.name).await.map_err(|fault| fault.to_string())? {
                Some(changes) => self.line = Some(Line { door, changes, said: String::new() }),
                None => return door.state(&self.name, context).await.map_err(|fault| fault.to_string()),
            }
        }
        let line = self.line.as_mut().expect("made just above");
        if !line.changes.forget() {
            return Err("the system bus has gone away".to_owned());
        }
        let state = line.door.state(&self.name, context).await.map_err(|fault| fault.to_string())?;
        state.text().clone_into(&mut line.said);
        Ok(state)
    }

    /// When systemd tells of another state than it was asked for last, or can tell no more.
    pub(super) async fn disturbed(&mut self) {
        let Some(line) = &mut self.line else { return std::future::pending().await };
        loop {
            match line.changes.next().await {
                Some(state) if state == line.said => {}
                Some(_) => return,
                None => break,
            }
        }
        self.line = None;
    }
}
