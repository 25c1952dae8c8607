//! What leaves the host: bounded, and without any secret's value.
//!
//! Apart because every answer goes through here, ordered or not. A secret is replaced before anything is cut.

use baton_model::{
    outcome::{DATA_BYTES_MAX, Fault, Observation, Outcome, Report},
    time::Moment,
};

use super::attempt::End;
use crate::action::Context;

/// A fault's message and its remedy are cut to so much each.
const FAULT_BYTES_MAX: usize = 4 * 1024;
const CUT: &str = " [cut]";

pub(crate) fn clean_fault(context: &Context, mut fault: Fault) -> Fault {
    // Redacted first: a secret that is cut in two would not be found.
    fault.message = context.redact(&fault.message);
    fault.remedy = context.redact(&fault.remedy);
    cut_fault(fault)
}

/// A fault goes into the log of every coordinator; a server's error can be as long as the statement it is about.
fn cut_fault(mut fault: Fault) -> Fault {
    for text in [&mut fault.message, &mut fault.remedy] {
        if text.len() > FAULT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(FAULT_BYTES_MAX - CUT.len()));
            text.push_str(CUT);
        }
    }
    fault
}

pub(super) fn clean_observation(context: &Context, observation: Observation) -> Observation {
    match observation {
        Observation::InPlace { note } => Observation::InPlace { note: context.redact(&note) },
        Observation::Differs { change } => Observation::Differs { change: context.redact(&change) },
        Observation::CannotTell { why } => Observation::CannotTell { why: context.redact(&why) },
    }
}

/// Everything that leaves the host: bounded, and without any secret's value.
pub(super) fn report(end: End, context: Option<&Context>, started: Moment, ended: Moment) -> Report {
    let End { mut outcome, summary, fault, data } = end;
    let Some(context) = context else {
        return Report {
            outcome,
            summary: line(&summary),
            fault: fault.map(cut_fault),
            output: Default::default(),
            data: Default::default(),
            attachments: Vec::new(),
            started,
            ended,
        };
    };
    let (output, whole) = context.output().finish();
    let mut attachments = context.attachments();
    attachments.extend(whole);
    let mut data = context.redactor().redact_value(data);
    let mut fault = fault.map(|fault| clean_fault(context, fault));
    if data.to_string().len() > DATA_BYTES_MAX {
        data = serde_json::Value::Null;
        if outcome.is_success() {
            // Later steps would go on without what they need; the effect itself is told in the fault.
            let message = format!("{}; but its data is longer than {DATA_BYTES_MAX} bytes", context.redact(&summary));
            fault = Some(cut_fault(Fault::new("BTN-0464", message, "Register less.")));
            outcome = Outcome::Failed;
        }
    }
    Report { outcome, summary: line(&context.redact(&summary)), fault, output, data, attachments, started, ended }
}

/// One line, of a length that the log can keep.
fn line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_fault_is_cut_between_characters() {
        let long = cut_fault(Fault::new("BTN-0001", "ä".repeat(FAULT_BYTES_MAX), "short"));
        assert!(long.message.len() <= FAULT_BYTES_MAX && long.message.len() > FAULT_BYTES_MAX - 16);
        assert!(long.message.ends_with(CUT) && long.remedy == "short");
        let whole = "x".repeat(FAULT_BYTES_MAX);
        assert_eq!(cut_fault(Fault::new("BTN-0001", whole.clone(), "")).message, whole);
    }
}
