//! Golden pictures: what people see of plans, runs, groups and lists. Pure: no process, no clock.

use baton_cli::output::{changes, cluster, groups, look::Look, lost_rows, plan, run, tree};
use baton_model::{
    plan::Kind,
    view::{
        AppliedChange, AppliedView, ClusterView, CoordinatorView, GroupView, HostView, MemberView, RunView,
        RunbookView, StatusView,
    },
};

use crate::documents;

fn look() -> Look {
    Look { width: 100, color: false, unicode: true, zone: jiff::tz::TimeZone::UTC }
}

fn tree_of(view: &RunView) -> String {
    tree::render(&tree::Frame { view, now: view.now, height: None, notice: None }, &look())
}

#[test]
fn trees_of_runs() {
    insta::assert_snapshot!("tree_running", tree_of(&documents::running()));
    insta::assert_snapshot!("tree_halted", tree_of(&documents::halted()));
    insta::assert_snapshot!("tree_waiting", tree_of(&documents::waiting()));
    insta::assert_snapshot!("tree_unknown", tree_of(&documents::unknown()));
    insta::assert_snapshot!("tree_skipped", tree_of(&documents::skipped()));
    insta::assert_snapshot!("tree_transferred", tree_of(&documents::transferred()));
    insta::assert_snapshot!("tree_rolled_back", tree_of(&documents::rolled_back()));
    insta::assert_snapshot!("tree_awaiting", tree_of(&documents::awaiting()));
    insta::assert_snapshot!("tree_crowded", tree_of(&documents::crowded()));
}

#[test]
fn a_tree_in_ascii_and_one_in_colour() {
    let view = documents::unknown();
    let frame =
        tree::Frame { view: &view, now: view.now, height: None, notice: Some("Asking 127.0.0.1:7402 for 0.5s") };
    let ascii = Look { unicode: false, width: 72, ..look() };
    let drawn = tree::render(&frame, &ascii);
    assert!(drawn.is_ascii(), "{drawn}");
    insta::assert_snapshot!("tree_ascii", drawn);
    let coloured = tree::render(&frame, &Look { color: true, ..look() });
    insta::assert_snapshot!("tree_coloured", coloured.replace('\x1b', "^"));
}

#[test]
fn a_tree_fits_every_screen_and_keeps_what_goes_on() {
    for view in [documents::running(), documents::halted(), documents::crowded(), documents::rolled_back()] {
        for width in [40, 60, 100] {
            for height in [16, 20, 24, 60] {
                let look = Look { width, ..look() };
                let frame = tree::Frame { view: &view, now: view.now, height: Some(height), notice: None };
                let drawn = tree::render(&frame, &look);
                let lines: Vec<&str> = drawn.lines().collect();
                let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= width, "{widest} > {width}\n{drawn}");
                assert!(lines.len() < height || height == 16, "{} lines on {height}\n{drawn}", lines.len());
            }
        }
    }
    let view = documents::running();
    let frame = tree::Frame { view: &view, now: view.now, height: Some(12), notice: None };
    insta::assert_snapshot!("tree_small", tree::render(&frame, &look()));
}

#[test]
fn time_goes_on_between_views() {
    let view = documents::running();
    let later = view.now.plus(baton_model::time::Span::from_secs(60));
    let drawn = tree::render(&tree::Frame { view: &view, now: later, height: None, notice: None }, &look());
    assert!(drawn.contains("2:23"), "{drawn}");
}

#[test]
fn changes_between_views_line_by_line() {
    let mut views = vec![documents::waiting(), documents::running(), documents::halted(), documents::transferred()];
    views.push(documents::over(documents::transferred(), "succeeded", ""));
    let mut before: Option<&RunView> = None;
    let mut log = Vec::new();
    for view in &views {
        log.extend(changes::between(before, view, &look()));
        assert_eq!(changes::between(Some(view), view, &look()), Vec::<String>::new(), "nothing changed");
        before = Some(view);
    }
    insta::assert_snapshot!("changes", log.join("\n"));
}

#[test]
fn runs_in_full_and_as_a_list() {
    insta::assert_snapshot!("show_halted", run::show(&documents::halted(), &look()));
    insta::assert_snapshot!("show_awaiting", run::show(&documents::awaiting(), &look()));
    let runs = [documents::waiting(), documents::halted(), documents::rolled_back()].map(|view| view.summary);
    insta::assert_snapshot!("runs", run::list(&runs, &look()));
}

#[test]
fn plans() {
    insta::assert_snapshot!("plan_planned", plan::render(&documents::plan(Kind::Planned), &look()));
    insta::assert_snapshot!("plan_of_a_night", plan::render(&documents::plan_of_a_night(), &look()));
    insta::assert_snapshot!("plan_forced", plan::render(&documents::plan(Kind::Forced), &look()));
}

pub fn cluster_view() -> ClusterView {
    let member = |name: &str, leader, matched| CoordinatorView {
        name: name.into(),
        address: format!("{name}.example.org:7400"),
        leader,
        matched,
    };
    ClusterView {
        leader: Some("c1".into()),
        term: 7,
        generation: 1,
        applied: 4711,
        members: vec![member("c1", true, Some(4711)), member("c2", false, Some(4711)), member("c3", false, None)],
    }
}

fn host(name: &str, by: &[&str], not: &[&str]) -> HostView {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    HostView {
        name: name.parse().unwrap(),
        address: Some(format!("{name}.example.org")),
        groups: vec!["pom".parse().unwrap()],
        reached_by: owned(by),
        not_reached_by: owned(not),
        version: (!by.is_empty()).then(|| "0.1.0".to_owned()),
    }
}

pub fn group_view() -> GroupView {
    let member = |name: &str, primary, standing: &str, hosts| MemberView {
        name: name.parse().unwrap(),
        site: Some("north".into()),
        primary,
        standing: standing.into(),
        because: if standing == "detached" { "data movement paused on pomdb1".into() } else { String::new() },
        since: (standing == "detached").then(|| documents::at(30)),
        by: (standing == "detached").then(|| "pom-16".parse().unwrap()),
        hosts,
    };
    GroupView {
        name: "pom".parse().unwrap(),
        description: "Proactive Outreach Manager".into(),
        primary: "db2".parse().unwrap(),
        epoch: baton_model::ids::Epoch(5),
        primary_since: documents::at(60),
        revision: 3,
        members: vec![
            member("db1", false, "detached", vec![host("db1", &[], &["c1", "c2"])]),
            member("db2", true, "primary", vec![host("db2", &["c1", "c2", "c3"], &[]), host("db3", &[], &[])]),
        ],
        open_run: Some(documents::halted().summary),
        runbooks: vec![RunbookView {
            name: "switchover".parse().unwrap(),
            kind: Kind::Planned,
            description: "Move the database".into(),
        }],
        limits: vec!["data movement paused on pomdb1: db1 is detached since 2026-11-21 03:00 UTC (pom-16); it must rejoin before the role moves again".into()],
        warnings: vec![],
        dual_active: vec![],
        components: vec![],
        lease: None,
        automatic: None,
        alerts: vec![],
    }
}

#[test]
fn status_hosts_members_and_what_was_applied() {
    let group = group_view();
    let status = StatusView { cluster: cluster_view(), groups: vec![group.clone()] };
    let waits = GroupView { open_run: Some(documents::awaiting().summary), limits: vec![], ..group.clone() };
    let waiting = StatusView { cluster: cluster_view(), groups: vec![waits.clone()] };
    insta::assert_snapshot!("status_awaiting", groups::status(&waiting, &look()));
    assert!(
        groups::group(&waits, &look()).contains("pom-17 (switchover) is running: step 2 waits for window maintenance")
    );
    let nobody = ClusterView { leader: None, ..cluster_view() };
    insta::assert_snapshot!("status", groups::status(&status, &look()));
    insta::assert_snapshot!("status_empty", groups::status(&StatusView { cluster: nobody, groups: vec![] }, &look()));
    insta::assert_snapshot!("status_group", groups::group(&group, &look()));
    let hosts: Vec<HostView> = group.members.into_iter().flat_map(|member| member.hosts).collect();
    insta::assert_snapshot!("hosts", groups::hosts(&hosts, &look()));
    insta::assert_snapshot!("cluster_members", cluster::members(&cluster_view(), &look()));
    let change = |group: &str, change: &str| AppliedChange {
        group: group.parse().unwrap(),
        change: change.into(),
        revision: 3,
        runbooks: vec!["failover".parse().unwrap(), "switchover".parse().unwrap()],
    };
    let applied = AppliedView { changes: vec![change("pom", "changed"), change("other", "unchanged")] };
    insta::assert_snapshot!("applied", groups::applied(&applied, &look()));
}

#[test]
fn lost_rows_as_tables() {
    let lost = [
        lost_rows::LostRows::read("fdb", "table,kind,key,row\npublic.session,INSERT,id=7,\"{\"\"id\"\": 7}\"\n"),
        lost_rows::LostRows::read("edb", "table,kind,key,row\n"),
    ];
    insta::assert_snapshot!("lost_rows", lost_rows::tables(&lost, &look()));
}
