//! The word that accepts a loss of data: the group's name, typed by the operator for one run.
//!
//! Apart because it is the one word that may cost data. It must never be taken from `--yes`, from a former run, or from a
//! name that is only nearly right.

use baton_model::{bill::Bill, view::PlanView};

use crate::{
    exit::Exit,
    failure::{Failure, code},
    terminal,
};

/// What an operator said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Nothing can be lost, so nothing is accepted.
    NotNeeded,
    /// With the option, as a script does.
    Given(String),
    /// At the question.
    Typed(String),
}

impl Consent {
    /// As it goes to the coordinator.
    pub fn word(&self) -> &str {
        match self {
            Consent::NotNeeded => "",
            Consent::Given(word) | Consent::Typed(word) => word,
        }
    }
}

/// `option`: of `--accept-data-loss`; empty where it was given without a name.
pub fn of(view: &PlanView, option: Option<&str>) -> Result<Consent, Failure> {
    if !view.plan.loses_data {
        return Ok(Consent::NotNeeded);
    }
    let (group, runbook) = (view.plan.group.as_str(), &view.plan.runbook);
    let verdict = view.bill.as_ref().map_or_else(|| "unknown".to_owned(), Bill::verdict);
    let refused = |code: &str, message: String| {
        let remedy =
            format!("Nothing was started. Read the bill, and give --accept-data-loss={group} if you accept it.");
        Err(Failure::new(Exit::Refused, code, message, remedy))
    };
    match option {
        None => {
            let message =
                format!("runbook {runbook} of {group} can lose data, and nobody has accepted that: {verdict}.");
            refused(code::NOT_ACCEPTED, message)
        }
        Some("") if !terminal::can_ask() => refused(
            code::NOT_ACCEPTED,
            format!(
                "to accept the loss of data, the group's name is typed, and there is no terminal to type it on: {verdict}."
            ),
        ),
        Some("") => {
            let question = "Type the name of the group to accept this loss and start, anything else to leave it: ";
            judged(group, terminal::ask(question)?, Consent::Typed)
                .or_else(|message| refused(code::WRONG_NAME, message))
        }
        Some(name) => {
            judged(group, name.to_owned(), Consent::Given).or_else(|message| refused(code::WRONG_NAME, message))
        }
    }
}

fn judged(group: &str, typed: String, consent: impl Fn(String) -> Consent) -> Result<Consent, String> {
    if typed == group {
        return Ok(consent(typed));
    }
    Err(format!("the loss of data is not accepted: {typed:?} was typed, not {group:?}."))
}

/// The bill as the coordinator compares it.
pub fn as_shown(bill: &Bill) -> Vec<u8> {
    serde_json::to_vec(bill).expect("a bill has string keys")
}
