//! The probes: how a component is, asked once.
//!
//! Apart from the actions because a probe changes nothing and is asked for as long as the host lives. It must never touch what the
//! host's policy does not allow.

use baton_model::{
    action::{process::Selector, wait::Probe as Waited},
    group::{ComponentProbe, ServiceProbe},
    outcome::Fault,
};

use crate::{
    action::{Context, wait::probe as wait},
    host::{
        processes::{self, Matcher},
        services::{self, State},
    },
};

/// How a component is, in the words of whoever was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Healthy(String),
    Unhealthy(String),
    /// Its process was seen alive and is dead.
    Died(String),
    CannotTell(String),
}

/// One question, and what is remembered between two answers.
pub struct Probe {
    probe: ComponentProbe,
    alive: bool,
}

impl Probe {
    /// Fails where the parameters make no sense.
    pub fn new(probe: &ComponentProbe) -> Result<Self, Fault> {
        Ok(Self { probe: probe.clone(), alive: false })
    }

    /// Asks once. Bounded by the caller.
    pub async fn ask(&mut self, context: &Context) -> Answer {
        match &self.probe {
            ComponentProbe::Service(service) => ask_service(service, context).await,
            ComponentProbe::Process(selector) => ask_process(&mut self.alive, selector),
            ComponentProbe::Tcp(tcp) => waited(&Waited::Tcp(tcp.clone()), context).await,
            ComponentProbe::Http(http) => waited(&Waited::Http(http.clone()), context).await,
            ComponentProbe::Command(command) => {
                let needs = crate::policy::needs(&until(command));
                match context.policy().check(&needs) {
                    Ok(()) => waited(&Waited::Command(command.clone()), context).await,
                    Err(fault) => Answer::CannotTell(fault.to_string()),
                }
            }
            ComponentProbe::Sql(_) => Answer::CannotTell("sql is not asked by this version".to_owned()),
        }
    }

    /// Resolves when it should be asked now; else never.
    pub async fn disturbed(&mut self) {
        std::future::pending().await
    }
}

fn until(command: &baton_model::action::exec::Command) -> baton_model::action::Action {
    let every = baton_model::time::Span::from_secs(1);
    baton_model::action::Action::WaitUntil(baton_model::action::wait::Until { argv: command.argv.clone(), every })
}

async fn ask_service(service: &ServiceProbe, context: &Context) -> Answer {
    if let Err(fault) = context.policy().check_service(&service.name) {
        return Answer::CannotTell(fault.to_string());
    }
    let state = match services::manager(&service.manager, context).await {
        Ok(manager) => manager.state(&service.name, context).await,
        Err(fault) => Err(fault),
    };
    match state {
        Ok(State::Running(text)) => Answer::Healthy(text),
        Ok(State::Stopped(text) | State::Changing(text) | State::Missing(text)) => Answer::Unhealthy(text),
        Ok(State::Unknown(text)) => Answer::CannotTell(text),
        Err(fault) => Answer::CannotTell(fault.to_string()),
    }
}

fn ask_process(alive: &mut bool, selector: &Selector) -> Answer {
    let found = match Matcher::new(selector) {
        Ok(matcher) => processes::find(&matcher),
        Err(error) => return Answer::CannotTell(error.to_string()),
    };
    let names = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (std::mem::replace(alive, !found.is_empty()), found.is_empty()) {
        (_, false) => Answer::Healthy(format!("{names} runs")),
        (true, true) => Answer::Died("its process has died".to_owned()),
        (false, true) => Answer::Unhealthy("no such process runs".to_owned()),
    }
}

async fn waited(probe: &Waited, context: &Context) -> Answer {
    match wait::ask(probe, context).await {
        wait::Answer::Yes(seen) => Answer::Healthy(seen),
        wait::Answer::Refused(seen) | wait::Answer::NotYet(seen) => Answer::Unhealthy(seen),
    }
}
