//! The data-loss bill: what each side was seen to have, and what follows, the worst database first.
//!
//! Apart because a plan and a run show it alike. It must never show a number where nobody saw one: what is missing is
//! "unknown", in words.

use baton_model::{
    bill::{Bill, DatabaseBill, Figure, Fitness, Loss, Side, length},
    time::Moment,
};

use super::{
    look::{Look, Paint},
    table::Table,
    text,
};

/// The whole bill, ending with its verdict.
pub fn render(bill: &Bill, look: &Look) -> String {
    let mut drawn = String::new();
    if !bill.databases.is_empty() {
        drawn.push_str(&sides(bill, look));
        drawn.push('\n');
        drawn.push_str(&losses(bill, look));
    }
    let of_databases = bill
        .databases
        .iter()
        .flat_map(|one| one.cautions.iter().map(move |caution| format!("{}: {caution}", one.name)));
    for caution in bill.cautions.iter().cloned().chain(of_databases) {
        for line in text::wrap(&text::printable(&format!("! {caution}")), look.width) {
            drawn.push_str(&look.paint(Paint::Warn, &line));
            drawn.push('\n');
        }
    }
    for line in text::wrap(&text::printable(&format!("The worst: {}.", bill.verdict())), look.width) {
        drawn.push_str(&look.paint(Paint::Bad, &line));
        drawn.push('\n');
    }
    drawn
}

fn sides(bill: &Bill, look: &Look) -> String {
    let mut table = Table::new(&["DATABASE", "SIDE", "LOG", "LAST COMMIT", "SEEN"]);
    for one in &bill.databases {
        table.row(side(Paint::Bold, &one.name, &one.old, "old primary", "had", bill.made));
        table.row(side(Paint::Plain, "", &one.target, "target", "has", bill.made));
    }
    table.draw(look)
}

fn side(paint: Paint, name: &str, side: &Side, role: &str, verb: &str, made: Moment) -> [(Paint, String); 5] {
    let who = side.who().unwrap_or_else(|| role.to_owned());
    let seen = side.seen.map_or_else(|| "never seen".to_owned(), |seen| ago(made, seen));
    [
        (paint, name.to_owned()),
        (Paint::Plain, format!("{who} {verb}")),
        figure(&side.log, side.seen, made, |log| log.0.to_string()),
        figure(&side.last_commit, side.seen, made, Clone::clone),
        (if side.seen.is_some() { Paint::Plain } else { Paint::Warn }, seen),
    ]
}

/// With its own age where that is not its side's.
fn figure<T>(figure: &Figure<T>, side: Option<Moment>, made: Moment, shown: impl Fn(&T) -> String) -> (Paint, String) {
    match figure {
        Figure::Unknown => (Paint::Warn, "unknown".to_owned()),
        Figure::Known { value, seen } if Some(*seen) == side => (Paint::Plain, shown(value)),
        Figure::Known { value, seen } => (Paint::Plain, format!("{} ({})", shown(value), ago(made, *seen))),
    }
}

fn ago(made: Moment, seen: Moment) -> String {
    format!("{} ago", length(made.since(seen)))
}

fn losses(bill: &Bill, look: &Look) -> String {
    let mut table = Table::new(&["DATABASE", "READY", "COPY", "NOT SENT", "LOSS"]);
    for one in &bill.databases {
        let target = one.target.seen;
        let ready = |ready: &bool| if *ready { "yes".to_owned() } else { "no".to_owned() };
        let (copy_paint, copy) = match &one.fitness {
            Fitness::Fit => (Paint::Plain, "fit".to_owned()),
            Fitness::Unfit(state) => (Paint::Bad, state.clone()),
            Fitness::Unknown => (Paint::Warn, "unknown".to_owned()),
        };
        table.row([
            (Paint::Bold, one.name.clone()),
            figure(&one.failover_ready, target, bill.made, ready),
            (copy_paint, copy),
            figure(&one.unsent_kb, one.old.seen, bill.made, |kb| format!("{kb} KB")),
            (loss_paint(one), one.sentence(bill.made)),
        ]);
    }
    table.draw(look)
}

fn loss_paint(one: &DatabaseBill) -> Paint {
    match (&one.loss, &one.fitness) {
        (_, Fitness::Unfit(_)) | (Loss::Unknown { .. }, _) => Paint::Bad,
        (Loss::AtMost { .. }, _) => Paint::Warn,
        (Loss::NothingIfReady { .. }, _) => Paint::Good,
    }
}
