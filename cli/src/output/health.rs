//! What runs, what may run, and what started or stopped by itself: the lower half of `baton status GROUP`, and its first line
//! where two are active.

use baton_model::{
    assignment::Health,
    view::{AutomaticView, ComponentView, GroupView},
};

use super::{
    look::{Look, Paint},
    table::Table,
    text, time,
};

/// Above everything else, also above the headline.
pub fn dual_active<'a>(groups: impl IntoIterator<Item = &'a GroupView>, look: &Look) -> String {
    let mut drawn = String::new();
    for group in groups {
        for found in &group.dual_active {
            let words = format!("!! TWO ACTIVE in {}: {}", group.name, text::one_line(found));
            drawn.push_str(&look.paint(Paint::Bad, &words));
            drawn.push('\n');
        }
    }
    drawn
}

/// Lease and automatic failover in a line each.
pub fn lines(view: &GroupView, look: &Look) -> String {
    let mut drawn = String::new();
    let mut line = |paint: Paint, words: String| {
        drawn.push_str(&look.paint(paint, &words));
        drawn.push('\n');
    };
    if let Some(lease) = &view.lease {
        let told: Vec<String> = lease
            .holders
            .iter()
            .map(|(host, left)| match left {
                Some(left) => format!("{host} for {} more", time::span(*left)),
                None => format!("{host} holds none"),
            })
            .collect();
        let held = lease.holders.values().all(Option::is_some);
        let paint = if held { Paint::Plain } else { Paint::Warn };
        line(paint, format!("lease of {}: {}", lease.lasts, told.join(", ")));
    }
    if let Some(automatic) = &view.automatic {
        line(Paint::Plain, format!("automatic failover is {}{}", automatic.mode, condition(automatic)));
        if let Some(paused) = &automatic.paused {
            let since = time::stamp(paused.when, &look.zone);
            line(Paint::Warn, format!("! paused since {since} by {}: {}", paused.who, text::one_line(&paused.why)));
        }
        if let Some(judged) = automatic.judged.last() {
            let words = format!("{} {}", time::stamp(judged.at, &look.zone), text::one_line(&judged.what));
            line(Paint::Dim, format!("last judged: {words}"));
        }
    }
    drawn
}

fn condition(automatic: &AutomaticView) -> String {
    if automatic.what.is_empty() { String::new() } else { format!(": {}", text::one_line(&automatic.what)) }
}

/// Each component on each host, and what hosts did on their own account.
pub fn tables(view: &GroupView, look: &Look) -> String {
    let mut drawn = String::new();
    if !view.components.is_empty() {
        let mut table = Table::new(&["COMPONENT", "HOST", "MEMBER", "HEALTH", "SINCE", "LAST SEEN"]);
        for component in &view.components {
            table.row(component_row(component, look));
        }
        drawn.push('\n');
        drawn.push_str(&table.draw(look));
    }
    if !view.alerts.is_empty() {
        let mut table = Table::new(&["ALERT", "HOST", "WHAT THE AGENT DID BY ITSELF"]);
        for alert in &view.alerts {
            let paint = if alert.failed { Paint::Bad } else { Paint::Warn };
            table.row([
                (Paint::Plain, time::stamp(alert.at, &look.zone)),
                (Paint::Plain, alert.host.to_string()),
                (paint, alert.what.clone()),
            ]);
        }
        drawn.push('\n');
        drawn.push_str(&table.draw(look));
    }
    drawn
}

fn component_row(view: &ComponentView, look: &Look) -> [(Paint, String); 6] {
    let (paint, health) = match view.health {
        None => (Paint::Warn, "no word".to_owned()),
        Some(health) => (paint_of(health), health.as_str().to_owned()),
    };
    let exclusive = if view.exclusive { " (exclusive)" } else { "" };
    let at = view.at.map_or(String::new(), |at| format!("{} ", time::clock(at, &look.zone)));
    [
        (Paint::Bold, format!("{}{exclusive}", view.component)),
        (Paint::Plain, view.host.to_string()),
        (Paint::Plain, view.member.as_ref().map_or("-".to_owned(), ToString::to_string)),
        (paint, health),
        (Paint::Plain, view.since.map_or("-".to_owned(), |since| time::stamp(since, &look.zone))),
        (Paint::Dim, format!("{at}{}", text::one_line(&view.what))),
    ]
}

fn paint_of(health: Health) -> Paint {
    match health {
        Health::Healthy => Paint::Good,
        Health::Failed | Health::Intruding => Paint::Bad,
        Health::Unknown => Paint::Warn,
        Health::Stopped => Paint::Dim,
    }
}
