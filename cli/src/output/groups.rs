//! Groups, members, hosts: who is primary, who is out of step, who can be reached.

use baton_model::view::{AppliedView, GroupView, HostView, MemberView, StatusView};

use super::{
    cluster, health,
    look::{Look, Paint},
    table::Table,
    text, time, tree,
};

/// `baton status`.
pub fn status(view: &StatusView, look: &Look) -> String {
    let mut drawn = health::dual_active(&view.groups, look);
    drawn.push_str(&cluster::headline(&view.cluster, look));
    if view.groups.is_empty() {
        drawn.push_str("no groups yet: \"baton apply GROUP-FILE\" defines one\n");
        return drawn;
    }
    drawn.push('\n');
    let mut table = Table::new(&["GROUP", "PRIMARY", "SINCE", "EPOCH", "OTHERS", "HOSTS", "RUN", "LIMITS"]);
    for group in &view.groups {
        let others = group.members.iter().filter(|member| !member.primary);
        let others: Vec<String> = others.map(|member| format!("{} {}", member.name, member.standing)).collect();
        let (run_paint, run) = match &group.open_run {
            None => (Paint::Dim, "-".to_owned()),
            Some(run) => {
                // Halts are told in full by "baton show"; a wait that nobody can hurry is told here.
                let waits = if run.phase == "running" && !run.why.is_empty() {
                    format!(": {}", run.why)
                } else {
                    String::new()
                };
                let words = format!("{} {}{waits}", run.id, run.phase);
                (tree::phase_paint(&run.phase, run.over, run.waiting), words)
            }
        };
        let limited = (!group.limits.is_empty()).then(|| format!("limited: {}", group.limits.join("; ")));
        let limits: Vec<String> = limited.into_iter().chain(group.warnings.clone()).collect();
        table.row([
            (Paint::Bold, group.name.to_string()),
            (Paint::Good, group.primary.to_string()),
            (Paint::Plain, time::stamp(group.primary_since, &look.zone)),
            (Paint::Plain, group.epoch.to_string()),
            (Paint::Plain, others.join(", ")),
            reached(group),
            (run_paint, run),
            if limits.is_empty() { (Paint::Dim, "-".to_owned()) } else { (Paint::Warn, limits.join("; ")) },
        ]);
    }
    drawn.push_str(&table.draw(look));
    drawn
}

/// `baton status GROUP`.
pub fn group(view: &GroupView, look: &Look) -> String {
    let mut drawn = health::dual_active([view], look);
    drawn.push_str(&format!(
        "{}  {}\n{} is primary since {}, in epoch {} (revision {})\n",
        look.paint(Paint::Bold, view.name.as_str()),
        text::one_line(&view.description),
        look.paint(Paint::Good, view.primary.as_str()),
        time::stamp(view.primary_since, &look.zone),
        view.epoch,
        view.revision,
    ));
    for limit in &view.limits {
        drawn.push_str(&look.paint(Paint::Warn, &format!("! limited: {}", text::one_line(limit))));
        drawn.push('\n');
    }
    for warning in &view.warnings {
        drawn.push_str(&look.paint(Paint::Warn, &format!("! {}", text::one_line(warning))));
        drawn.push('\n');
    }
    drawn.push_str(&health::lines(view, look));
    if let Some(run) = &view.open_run {
        let why = if run.why.is_empty() { String::new() } else { format!(": {}", text::one_line(&run.why)) };
        let words = format!("{} ({}) is {}{why}", run.id, run.runbook, run.phase);
        drawn.push_str(&look.paint(tree::phase_paint(&run.phase, run.over, run.waiting), &words));
        drawn.push('\n');
    }
    drawn.push('\n');
    let mut members = Table::new(&["MEMBER", "SITE", "STANDING", "HOST", "ADDRESS", "REACHED BY", "AGENT"]);
    for member in &view.members {
        for (n, host) in member.hosts.iter().enumerate() {
            members.row(member_row(member, host, n == 0));
        }
    }
    drawn.push_str(&members.draw(look));
    drawn.push_str(&health::tables(view, look));
    drawn.push('\n');
    let mut runbooks = Table::new(&["RUNBOOK", "KIND", "WHAT IT DOES"]);
    for runbook in &view.runbooks {
        let kind = format!("{:?}", runbook.kind).to_lowercase();
        let cells = [runbook.name.to_string(), kind, runbook.description.clone()];
        runbooks.row(cells.map(|cell| (Paint::Plain, cell)));
    }
    drawn.push_str(&runbooks.draw(look));
    drawn
}

fn member_row(member: &MemberView, host: &HostView, first: bool) -> [(Paint, String); 7] {
    let paint = match member.standing.as_str() {
        "primary" => Paint::Good,
        "standby" => Paint::Plain,
        _ => Paint::Warn,
    };
    let once = |text: String| if first { text } else { String::new() };
    let (reach_paint, reach) = reach(host);
    [
        (Paint::Bold, once(member.name.to_string())),
        (Paint::Plain, once(member.site.clone().unwrap_or_default())),
        (paint, once(member.standing.clone())),
        (Paint::Plain, host.name.to_string()),
        (Paint::Plain, host.address.clone().unwrap_or_default()),
        (reach_paint, reach),
        (Paint::Dim, host.version.clone().unwrap_or_default()),
    ]
}

/// `baton hosts`.
pub fn hosts(hosts: &[HostView], look: &Look) -> String {
    let mut table = Table::new(&["HOST", "ADDRESS", "GROUPS", "REACHED BY", "AGENT"]);
    for host in hosts {
        let groups: Vec<&str> = host.groups.iter().map(|group| group.as_str()).collect();
        let (reach_paint, reach) = reach(host);
        table.row([
            (Paint::Bold, host.name.to_string()),
            (Paint::Plain, host.address.clone().unwrap_or_default()),
            (Paint::Plain, groups.join(", ")),
            (reach_paint, reach),
            (Paint::Dim, host.version.clone().unwrap_or_default()),
        ]);
    }
    table.draw(look)
}

/// Which coordinators have the host's agent on the line, and which say that they have not. Those that were not heard
/// are in neither list, and nothing is said for them.
fn reach(host: &HostView) -> (Paint, String) {
    match (host.reached_by.as_slice(), host.not_reached_by.as_slice()) {
        ([], []) => (Paint::Warn, "unknown".to_owned()),
        ([], _) => (Paint::Bad, "nobody".to_owned()),
        (by, []) => (Paint::Good, by.join(", ")),
        (by, not) => (Paint::Warn, format!("{}, not by {}", by.join(", "), not.join(", "))),
    }
}

/// How many of a group's hosts some coordinator reaches.
fn reached(group: &GroupView) -> (Paint, String) {
    let hosts: std::collections::BTreeMap<_, _> =
        group.members.iter().flat_map(|member| &member.hosts).map(|host| (&host.name, host)).collect();
    let reached = hosts.values().filter(|host| !host.reached_by.is_empty()).count();
    let paint = if reached == hosts.len() { Paint::Good } else { Paint::Bad };
    (paint, format!("{reached}/{} reached", hosts.len()))
}

/// `baton apply`.
pub fn applied(view: &AppliedView, look: &Look) -> String {
    let mut table = Table::new(&["GROUP", "CHANGE", "REVISION", "RUNBOOKS"]);
    for change in &view.changes {
        let paint = if change.change == "unchanged" { Paint::Dim } else { Paint::Good };
        let runbooks: Vec<&str> = change.runbooks.iter().map(|name| name.as_str()).collect();
        table.row([
            (Paint::Bold, change.group.to_string()),
            (paint, change.change.clone()),
            (Paint::Plain, change.revision.to_string()),
            (Paint::Plain, runbooks.join(", ")),
        ]);
    }
    table.draw(look)
}
