//! One question, one answer: a port, a page, a program.
//!
//! Apart because waits and the readiness of services ask the same questions. An answer never takes longer than
//! [`ANSWER`], and never is an error: what went wrong is what was seen.

use std::io;
use std::time::Duration;

use baton_model::action::wait::Probe;
use baton_model::time::Span;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http;
use crate::action::Context;
use crate::host::program::{Program, ProgramError};

/// How long an answer over the network may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What was seen, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Yes(String),
    /// Nobody listens: the host said so.
    Refused(String),
    NotYet(String),
    /// The question could not be put: no such program, no such secret. It says nothing of what was asked about.
    Unasked(String),
}

pub fn described(probe: &Probe) -> String {
    match probe {
        Probe::Tcp(tcp) => format!("{}:{}", tcp.host, tcp.port),
        Probe::Http(http) => http.url.clone(),
        Probe::Command(command) => command.argv.join(" "),
    }
}

/// Asks once.
pub async fn ask(probe: &Probe, context: &Context) -> Answer {
    ask_within(probe, ANSWER, context).await
}

/// Asks once, with another patience than [`ANSWER`]. A program has until the context's deadline.
pub async fn ask_within(probe: &Probe, patience: Duration, context: &Context) -> Answer {
    let late = || format!("no answer within {}", Span(patience.as_millis() as u64));
    let place = described(probe);
    let asked = async {
        match probe {
            Probe::Tcp(tcp) => match timeout(patience, TcpStream::connect((tcp.host.as_str(), tcp.port))).await {
                Ok(Ok(_)) => Answer::Yes(format!("{place} answers")),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    Answer::Refused(format!("{place} refuses"))
                }
                Ok(Err(error)) => Answer::NotYet(format!("{place}: {error}")),
                Err(_) => Answer::NotYet(format!("{place}: {}", late())),
            },
            Probe::Http(wanted) => match timeout(patience, http::get(wanted)).await {
                Err(_) => Answer::NotYet(format!("{place}: {}", late())),
                Ok(Err(error)) => Answer::NotYet(format!("{place}: {error}")),
                Ok(Ok(page)) if page.status != wanted.status => {
                    Answer::NotYet(format!("{place} answers with status {}, not {}", page.status, wanted.status))
                }
                Ok(Ok(page)) => match &wanted.body_contains {
                    Some(text) if !String::from_utf8_lossy(&page.body).contains(text.as_str()) => {
                        Answer::NotYet(format!("{place} answers with status {}, without {text:?}", page.status))
                    }
                    _ => Answer::Yes(format!("{place} answers with status {}", page.status)),
                },
            },
            Probe::Command(command) => {
                let program = match Program::from_command(command, context).await {
                    Ok(program) => Program { capture: true, ..program },
                    Err(fault) => return Answer::Unasked(fault.to_string()),
                };
                match program.run(context).await {
                    Ok(ended) if ended.is_success() => Answer::Yes(format!("{place}: exit code 0")),
                    Ok(ended) => {
                        Answer::NotYet(format!("{place}: {}{}", ended.how(), last_line(&ended.stdout, context)))
                    }
                    Err(ProgramError::Ended(fault)) if context.is_overdue() => Answer::NotYet(fault.to_string()),
                    Err(error) => Answer::Unasked(error.to_string()),
                }
            }
        }
    };
    // A program ends by itself when the task is cancelled, and takes its children along.
    if matches!(probe, Probe::Command(_)) {
        return asked.await;
    }
    tokio::select! {
        biased;
        answer = asked => answer,
        () = context.cancelled() => Answer::NotYet(format!("{place}: no answer yet")),
    }
}

fn last_line(output: &[u8], context: &Context) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.map(|line| format!(", {:?}", context.redact(line).chars().take(200).collect::<String>())).unwrap_or_default()
}
