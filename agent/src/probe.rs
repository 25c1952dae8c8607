//! What a component is asked, and what it answers: one question a kind, put again and again by whoever watches.
//!
//! Apart from the watching (when to ask, how many answers make a verdict, what to do about it), which is not known here. It must
//! never change anything, and never take "I could not ask" for "it does not run".

use baton_model::{
    action::{Action, exec, process, service, wait},
    group::ComponentProbe,
    outcome::Fault,
};

use crate::action::{Context, bind};

mod process_life;
mod query;
mod question;
mod service_state;

use process_life::ProcessLife;
use question::Question;
use service_state::ServiceState;

/// What was seen is in its own words: at most this many characters.
pub const WORDS_MAX: usize = 300;

/// In one line, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Healthy(String),
    Unhealthy(String),
    /// It was seen alive, and whoever knows (the kernel, systemd) says that it is dead. Said once; afterwards it is unhealthy.
    Died(String),
    /// The question could not be put, or its answer tells nothing.
    CannotTell(String),
}

impl Answer {
    fn reworded(self, words: impl FnOnce(&str) -> String) -> Self {
        match self {
            Answer::Healthy(seen) => Answer::Healthy(words(&seen)),
            Answer::Unhealthy(seen) => Answer::Unhealthy(words(&seen)),
            Answer::Died(seen) => Answer::Died(words(&seen)),
            Answer::CannotTell(seen) => Answer::CannotTell(words(&seen)),
        }
    }
}

/// One component's question, and what must be remembered from one answer to the next.
pub struct Probe {
    asked: ComponentProbe,
    kind: Kind,
}

enum Kind {
    Service(Box<ServiceState>),
    Process(ProcessLife),
    Question(Question),
    Query(baton_model::action::sql::Query),
}

impl Probe {
    /// A fault where the parameters make no sense, as the equivalent action would say it.
    pub fn new(probe: &ComponentProbe) -> Result<Self, Fault> {
        bind(&Self::action(probe))?;
        let kind = match probe {
            ComponentProbe::Service(service) => Kind::Service(Box::new(ServiceState::new(service))),
            ComponentProbe::Process(selector) => Kind::Process(ProcessLife::new(selector)?),
            ComponentProbe::Tcp(port) => Kind::Question(Question(wait::Probe::Tcp(port.clone()))),
            ComponentProbe::Http(page) => Kind::Question(Question(wait::Probe::Http(page.clone()))),
            ComponentProbe::Command(command) => Kind::Question(Question(wait::Probe::Command(command.clone()))),
            ComponentProbe::Sql(query) => Kind::Query(query.clone()),
        };
        Ok(Self { asked: probe.clone(), kind })
    }

    /// The action that touches what the question touches: the agent's policy must allow it before anything is asked.
    pub fn action(probe: &ComponentProbe) -> Action {
        match probe {
            ComponentProbe::Service(service) => Action::ServiceRunning(service::Running {
                name: service.name.clone(),
                manager: service.manager.clone(),
                ready: None,
            }),
            ComponentProbe::Process(selector) => Action::ProcessRunning(process::Running {
                program: selector.program.clone(),
                arguments_contain: selector.arguments_contain.clone(),
                user: selector.user.clone(),
                running: true,
            }),
            ComponentProbe::Tcp(port) => {
                Action::WaitTcp(wait::Tcp { host: port.host.clone(), port: port.port, closed: false, every: EVERY })
            }
            ComponentProbe::Http(page) => Action::WaitHttp(wait::Http {
                url: page.url.clone(),
                status: page.status,
                body_contains: page.body_contains.clone(),
                ca_file: page.ca_file.clone(),
                verify: page.verify,
                every: EVERY,
            }),
            // Not wait.until, which knows no user and no environment: the policy has something to say about both.
            ComponentProbe::Command(command) => Action::ExecRun(exec::Run {
                argv: command.argv.clone(),
                environment: command.environment.clone(),
                user: command.user.clone(),
                directory: command.directory.clone(),
                stdin: None,
                exit_codes: Vec::new(),
                creates: None,
                unless: None,
                repeatable: true,
            }),
            ComponentProbe::Sql(query) => Action::SqlQuery(query.clone()),
        }
    }

    /// Asks once. It ends by the context's deadline, a program by two seconds after it (they are its grace between TERM and
    /// KILL); no answer until then is an unhealthy one. Safe to drop while it asks: what it started is then killed.
    pub async fn ask(&mut self, context: &Context) -> Answer {
        if let Some(respondent) = &context.host().respondent {
            return respondent.answer(&self.asked).await;
        }
        let answer = match &mut self.kind {
            Kind::Service(service) => service.ask(context).await,
            Kind::Process(process) => process.ask(),
            Kind::Question(question) => question.ask(context).await,
            Kind::Query(query) => query::ask(query, context).await,
        };
        answer.reworded(|seen| {
            let line = seen.split_whitespace().collect::<Vec<_>>().join(" ");
            context.redact(&line).chars().take(WORDS_MAX).collect()
        })
    }

    /// Resolves when the component should be asked again now: it is not as it was when it was asked last. Never resolves where
    /// nothing tells. Safe to drop while it waits.
    pub async fn disturbed(&mut self) {
        match &mut self.kind {
            Kind::Service(service) => service.disturbed().await,
            Kind::Process(process) => process.disturbed().await,
            Kind::Question(_) | Kind::Query(_) => std::future::pending().await,
        }
    }
}

/// How often a wait would ask: means nothing here.
const EVERY: baton_model::time::Span = baton_model::time::Span(500);

#[cfg(test)]
mod tests;
