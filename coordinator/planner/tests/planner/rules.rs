//! `target` and `require`: who is refused reads the runbook's own sentence, what was seen, and what can be done about it.

use std::collections::BTreeMap;

use baton_model::{group::Group, parse::parse_group, plan::Kind};
use baton_planner::{Request, Situation, plan};

use crate::{refusal, request, situation, the_group, the_runbook};

const SITES: &str = "group: pom
members:
  db1: { site: east, hosts: { database: pomdb1 } }
  db2: { site: east, hosts: { database: pomdb2 } }
  db3: { site: west, hosts: { database: pomdb3 } }
  db4: { hosts: { database: pomdb4 } }
primary: db1
roles: { chat: [chat1, chat2] }
hosts:
  pomdb1: { address: 10.0.0.1 }
  pomdb2: { address: 10.0.0.2 }
  pomdb3: { address: 10.0.0.3 }
  pomdb4: { address: 10.0.0.4 }
  chat1: { address: 10.0.0.5, site: east }
  chat2: { address: 10.0.0.6, site: west }
";

const INSIDE: &str = "runbook: move
inputs: { active_servers: { type: list, default: [] } }
target:
  - expect: candidate.site == old.site
    because: \"the database moves inside one data centre; ${candidate.name} is in ${candidate.site}, ${old.name} in ${old.site}\"
    GUARD
require:
  - expect: \"input.active_servers.all(s, s in hosts && hosts[s].site == new.site)\"
    because: \"active servers must be in ${new.site}, where ${new.name} is\"
  - expect: size(members) == 4 && vars.moves
    because: \"nothing moves now\"
    guard: moves
vars: { moves: true }
steps:
  - role.transfer: {}
";

fn sites() -> Group {
    parse_group("pom.yaml", SITES).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn asked(text: &str, change: impl Fn(&mut Request, &mut Situation)) -> String {
    let (mut request, mut situation) = (Request { inputs: BTreeMap::new(), ..request() }, situation());
    situation.standings.clear();
    change(&mut request, &mut situation);
    refusal(plan(&sites(), &the_runbook(text), &situation, &request))
}

fn inside() -> String {
    INSIDE.replace("    GUARD\n", "")
}

#[test]
fn a_target_in_another_site_is_refused_with_every_candidate_and_why_it_is_out() {
    let told = asked(&inside(), |request, _| request.to = "db3".parse().ok());
    let out = "db3 (out: the database moves inside one data centre; db3 is in west, db1 in east)";
    // A member whose site nobody wrote down is out too, and the refusal says what is missing.
    let unsited =
        "db4 (out: it does not hold that candidate.site == old.site; candidate.site is null, old.site is \"east\")";
    assert_eq!(
        told,
        format!(
            "BTN-0133 db3 cannot become primary: the database moves inside one data centre; db3 is in west, db1 in east; candidates: db1 (out: it is primary already (epoch 4)), db2 (fit), {out}, {unsited}. Choose another member with --to."
        )
    );
    // Of four members one is left, so nobody has to name it.
    assert!(asked(&inside(), |_, _| {}).contains("moves from db1 to db2 "));
    let none = asked(&inside(), |_, situation| {
        situation.standings.insert("db2".parse().expect("a name"), "detached since pom-3 (paused)".to_owned());
    });
    assert_eq!(
        none,
        format!(
            "BTN-0134 no member of pom can become primary: db1 (out: it is primary already (epoch 4)), db2 (out: it is detached since pom-3 (paused)), {out}, {unsited}. Bring one back with its rejoin runbook, or name one with --to."
        )
    );
}

#[test]
fn a_rule_is_overridden_by_its_name_with_a_reason_and_one_without_a_name_never() {
    let guarded = INSIDE.replace("GUARD", "guard: other-site");
    let to = |over: &'static [(&str, &str)]| {
        move |request: &mut Request, _: &mut Situation| {
            request.to = "db3".parse().ok();
            for (guard, why) in over {
                request.overrides.insert((*guard).to_owned(), (*why).to_owned());
            }
        }
    };
    let refused = asked(&guarded, to(&[]));
    assert!(
        refused.ends_with("Choose another member with --to, or override with --override other-site=REASON."),
        "{refused}"
    );
    assert!(asked(&guarded, to(&[("other-site", "the east is flooded")])).contains("moves from db1 to db3 "));
    assert_eq!(
        asked(&guarded, to(&[("other-site", " ")])),
        "BTN-0138 overriding other-site needs a reason. Override with --override GUARD=REASON."
    );
    // The name is this runbook's own: where it is not written, it is no guard.
    assert_eq!(
        asked(&inside(), to(&[("other-site", "hurry")])),
        "BTN-0138 there is no guard \"other-site\" to override (there are window, detached, lease, moves). Override with --override GUARD=REASON."
    );
}

#[test]
fn what_a_runbook_requires_is_refused_all_at_once_with_what_was_seen() {
    let with = |servers: &'static str| {
        move |request: &mut Request, _: &mut Situation| {
            request.inputs.insert("active_servers".to_owned(), servers.to_owned());
        }
    };
    assert!(asked(&inside(), with("chat1")).starts_with("planned: "));
    assert_eq!(
        asked(&inside(), with("chat1, chat2")),
        "BTN-0139 runbook move requires what is not so: active servers must be in east, where db2 is (input.active_servers.all(s, s in hosts && hosts[s].site == new.site); input.active_servers is [\"chat1\",\"chat2\"], new.site is \"east\"). Ask for something else; this cannot be overridden."
    );
    let stopped = inside().replace("moves: true", "moves: false");
    let both = asked(&stopped, with("chat9"));
    assert!(
        both.contains("where db2 is (")
            && both.contains("; nothing moves now (")
            && both.contains("cannot be overridden"),
        "{both}"
    );
    assert!(
        asked(&stopped, with(""))
            .ends_with("vars.moves is false). Ask for something else, or override with --override moves=REASON.")
    );
    let overridden = asked(&stopped, |request, _| {
        request.overrides.insert("moves".to_owned(), "the manager said so".to_owned());
    });
    assert!(overridden.starts_with("planned: "), "{overridden}");
    let silly = asked(&inside().replace("vars.moves\n", "vars.moves.deeper\n"), |_, _| {});
    assert!(
        silly.starts_with("BTN-0139 runbook move requires what is not so: the rule in line 9 has no answer: "),
        "{silly}"
    );
}

#[test]
fn what_can_lose_data_is_planned_only_where_the_runbook_is_forced() {
    let text = "runbook: move
kind: forced
steps:
  - role.transfer: {}
  - name: Force
    on: new.database
    when: 'false'
    mssql.ag.force_failover: { connection: { host: a, user: b, password: c }, group: ag, replicas: [], accepted: [] }
";
    let read = baton_model::parse::parse_runbook("move.yaml", text);
    // Its parameters are not what this is about: where the catalogue asks for others, the action is put in by hand.
    let mut runbook = read.unwrap_or_else(|_| {
        the_runbook(&text.replace("mssql.ag.force_failover: { connection: { host: a, user: b, password: c }, group: ag, replicas: [], accepted: [] }", "service.stop: { name: POM }"))
    });
    for block in &mut runbook.steps {
        let baton_model::runbook::Block::One(step) = block else { continue };
        if let baton_model::runbook::WorkDefinition::Action(action) = &mut step.work {
            action.name = "mssql.ag.force_failover".to_owned();
        }
    }
    let request = Request { inputs: BTreeMap::new(), ..request() };
    let forced = refusal(plan(&the_group(), &runbook, &situation(), &request));
    assert!(forced.starts_with("planned: "), "{forced}");
    for kind in [Kind::Planned, Kind::Maintenance] {
        // Whatever let it in: a file of an older version, a defect of the parser.
        runbook.kind = kind;
        assert_eq!(
            refusal(plan(&the_group(), &runbook, &situation(), &request)),
            "BTN-0152 runbook move, line 5, step \"Force\": mssql.ag.force_failover can lose data, and the runbook is not forced. Write kind: forced into the runbook, apply it and start it with \"baton failover\"; or fail over without loss."
        );
    }
}

#[test]
fn a_detached_member_is_a_target_where_the_runbook_brings_it_back_first_and_a_lost_one_is_not() {
    let returning = |standing: &'static str, steps: &str| {
        let text = inside().replace("  - role.transfer", &format!("{steps}  - role.transfer"));
        asked(&text, move |_, situation| {
            situation.standings.insert("db2".parse().expect("a name"), standing.to_owned());
        })
    };
    let rejoined = "  - role.rejoined: { member: \"${new.name}\" }\n";
    assert!(returning("detached since pom-3", rejoined).contains("moves from db1 to db2 "));
    assert!(returning("detached since pom-3", "").starts_with("BTN-0134 "));
    assert!(returning("declared lost (flooded)", rejoined).starts_with("BTN-0134 "));
    let perhaps = "  - { when: facts.back == true, role.rejoined: { member: \"${new.name}\" } }\n";
    assert!(returning("detached since pom-3", perhaps).starts_with("BTN-0134 "));
}
