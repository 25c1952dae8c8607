//! Which hosts a step means.

use super::{Reader, UNREACHABLE};
use crate::{
    diagnostic::{code, nearest},
    parse::names::Strings,
    runbook::Selector,
    yaml::{Content, Entry, Node},
};

impl Reader<'_, '_> {
    /// The hosts; required for an action.
    pub(super) fn on(&mut self, node: &Node, work: &Entry, is_action: bool) -> Vec<Selector> {
        let Some(on) = node.entry("on") else {
            if is_action {
                let message = format!("{} does not say on which hosts", work.key);
                self.faults.add(
                    work.at,
                    code::MISSING_KEY,
                    message,
                    "add on: ROLE, old.ROLE, new.ROLE, others.ROLE or host:NAME",
                );
            }
            return Vec::new();
        };
        if !is_action && work.key != UNREACHABLE {
            let message = format!("{} is not done on hosts", work.key);
            self.faults.add(on.at, code::CONTRADICTION, message, "take on out");
            return Vec::new();
        }
        let nodes: Vec<&Node> = match &on.node.content {
            Content::List(items) => items.iter().collect(),
            Content::Scalar(_) | Content::Map(_) => vec![&on.node],
        };
        if nodes.is_empty() {
            self.faults.add(
                on.node.at,
                code::WRONG_VALUE,
                "\"on\" names no hosts",
                "write ROLE, old.ROLE, new.ROLE, others.ROLE or host:NAME",
            );
        }
        nodes.into_iter().filter_map(|node| self.selector(node)).collect()
    }

    pub(super) fn selector(&mut self, node: &Node) -> Option<Selector> {
        let remedy = "write ROLE, old.ROLE, new.ROLE, others.ROLE or host:NAME";
        let Some(text) = node.scalar().filter(|scalar| !scalar.value.is_null()).map(|scalar| scalar.raw.as_str())
        else {
            let remedy = match node.entry("host") {
                Some(_) => "write host:NAME without a space after the colon",
                None => remedy,
            };
            self.faults.add(node.at, code::WRONG_VALUE, "\"on\" must name hosts", remedy);
            return None;
        };
        let mut strings = Strings::Templates { names: &self.names, uses: self.uses };
        if strings.take_template(text) {
            strings.template(text, node.at, "\"on\"", false, self.faults)?;
        }
        match text.parse::<Selector>() {
            Ok(selector) => {
                self.uses.selectors.push((selector.clone(), node.at));
                Some(selector)
            }
            Err(_) => {
                let remedy = match text.split_once('.') {
                    Some((side, role)) if !role.contains('.') => match nearest(side, ["old", "new", "others"]) {
                        Some(side) => format!("did you mean {:?}?", format!("{side}.{role}")),
                        None => remedy.to_owned(),
                    },
                    _ if text.contains("${") => "only host: takes ${…}, as in \"host:${input.name}\"".to_owned(),
                    _ => remedy.to_owned(),
                };
                self.faults.add(node.at, code::WRONG_VALUE, format!("{text:?} names no hosts"), remedy);
                None
            }
        }
    }
}
