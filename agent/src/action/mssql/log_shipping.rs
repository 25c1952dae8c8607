//! Log shipping: what a secondary knows, and taking it over. One file for each thing that is done.

pub mod apply;
pub mod copy;
pub mod directory;
pub mod job;
pub mod primary;
pub mod record;
pub mod recover;
pub mod remove;
pub mod secondary;
pub mod state;

use serde_json::{Value, json};

use super::chain::LeftOut;

/// So many entries of a list go into a task's data, which is bounded; all of them are in its output.
const LISTED_MAX: usize = 40;

/// The first of a list, and how many there are.
fn listed(items: Vec<Value>) -> Value {
    let count = items.len();
    json!({ "count": count, "first": items.into_iter().take(LISTED_MAX).collect::<Vec<_>>() })
}

pub(super) fn left_out_data(left_out: &[LeftOut]) -> Value {
    listed(left_out.iter().map(|left| json!({ "file": left.place, "why": left.why })).collect())
}

/// For a summary: what has no part in it is named there too.
pub(super) fn left_out_words(left_out: &[LeftOut]) -> String {
    const SHOWN: usize = 3;
    if left_out.is_empty() {
        return String::new();
    }
    let named: Vec<String> = left_out.iter().take(SHOWN).map(|left| format!("{} ({})", left.place, left.why)).collect();
    let more = if left_out.len() > SHOWN { format!(" and {} more", left_out.len() - SHOWN) } else { String::new() };
    format!("; left out: {}{more}", named.join(", "))
}
