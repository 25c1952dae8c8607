//! The coordinators themselves.

use baton_model::view::ClusterView;

use super::{
    look::{Look, Paint},
    table::Table,
    text,
};

/// `3 coordinators, c1 leads in term 4`.
pub fn headline(view: &ClusterView, look: &Look) -> String {
    let size = text::count(view.members.len(), "coordinator");
    match &view.leader {
        Some(leader) => format!("{size}, {} leads in term {}\n", look.paint(Paint::Bold, leader), view.term),
        None => look.paint(Paint::Bad, &format!("{size}, none leads (term {})", view.term)) + "\n",
    }
}

/// `baton cluster members`.
pub fn members(view: &ClusterView, look: &Look) -> String {
    let mut table = Table::new(&["COORDINATOR", "ADDRESS", "PART", "LOG"]);
    for member in &view.members {
        let (paint, part) = if member.leader { (Paint::Good, "leader") } else { (Paint::Plain, "follower") };
        // The leader knows how far each one is only while it leads.
        let log = member.matched.map_or_else(|| "unknown".to_owned(), |index| index.to_string());
        table.row([
            (Paint::Bold, member.name.clone()),
            (Paint::Plain, member.address.clone()),
            (paint, part.to_owned()),
            (Paint::Plain, log),
        ]);
    }
    let facts = format!("term {}, generation {}, applied up to {}\n", view.term, view.generation, view.applied);
    format!("{}{}", table.draw(look), look.paint(Paint::Dim, &facts))
}
