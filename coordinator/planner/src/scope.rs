//! What expressions see. Made once for a plan and kept in it, so that what had to wait is evaluated over the same facts.
//!
//! | name | what |
//! | --- | --- |
//! | `group` | `name`, `primary`, `epoch`, `members` (by name), `others` (every member but the primary) |
//! | `old`, `new` | a member: `name`, `site`, `vars`, `hosts` (role → list), and each role's first host by the role's name |
//! | `host` | the task's host: `name`, `address`, `site`, `member`, `vars` |
//! | `accepted_data_loss` | whether an operator accepted, for this run, that data may be lost |
//! | `vars`, `input`, `facts` | the runbook's defaults under the group's variables; the inputs; what earlier runs kept |

use std::collections::BTreeMap;

use baton_model::{
    expression::Scope,
    group::Group,
    ids::{HostName, MemberName},
    runbook::Runbook,
};
use serde_json::{Map, Value, json};

use crate::request::Situation;

pub(crate) fn scope(
    group: &Group,
    runbook: &Runbook,
    situation: &Situation,
    new: Option<&MemberName>,
    inputs: &BTreeMap<String, Value>,
) -> Scope {
    let mut vars: Map<String, Value> = runbook.vars.clone().into_iter().collect();
    vars.extend(group.vars.clone());
    let mut scope = of_group(group, situation, vars);
    scope.insert("old".to_owned(), member(group, &situation.primary));
    if let Some(new) = new {
        scope.insert("new".to_owned(), member(group, new));
    }
    let hosts: Map<String, Value> = group.hosts.keys().map(|name| (name.to_string(), host(group, name))).collect();
    scope.insert("hosts".to_owned(), Value::Object(hosts));
    scope.insert("input".to_owned(), Value::Object(inputs.clone().into_iter().collect()));
    scope.insert("facts".to_owned(), Value::Object(situation.facts.clone().into_iter().collect()));
    scope
}

/// What holds whoever is primary: `group` and `vars`.
pub(crate) fn of_group(group: &Group, situation: &Situation, vars: Map<String, Value>) -> Scope {
    let members: Map<String, Value> =
        group.members.keys().map(|name| (name.to_string(), member(group, name))).collect();
    let others: Vec<Value> =
        group.members.keys().filter(|name| **name != situation.primary).map(|name| member(group, name)).collect();
    let mut scope = Scope::new();
    scope.insert(
        "group".to_owned(),
        json!({
            "name": group.name, "primary": situation.primary, "epoch": situation.epoch,
            "members": members, "others": others,
        }),
    );
    scope.insert("vars".to_owned(), Value::Object(vars));
    scope
}

pub(crate) fn member(group: &Group, name: &MemberName) -> Value {
    let Some(member) = group.members.get(name) else { return Value::Null };
    let by_role: Map<String, Value> = member
        .hosts
        .iter()
        .map(|(role, hosts)| (role.to_string(), hosts.0.iter().map(|name| host(group, name)).collect()))
        .collect();
    let mut value = Map::new();
    for (role, hosts) in &member.hosts {
        if let Some(first) = hosts.0.first() {
            value.insert(role.to_string(), host(group, first));
        }
    }
    // After the roles: a role called "vars" must not hide these.
    value.insert("name".to_owned(), json!(name));
    value.insert("site".to_owned(), json!(group.site_of(name)));
    value.insert("vars".to_owned(), Value::Object(member.vars.clone().into_iter().collect()));
    value.insert("hosts".to_owned(), Value::Object(by_role));
    Value::Object(value)
}

pub(crate) fn host(group: &Group, name: &HostName) -> Value {
    let Some(host) = group.hosts.get(name) else { return Value::Null };
    let vars: Map<String, Value> = host.vars.clone().into_iter().collect();
    json!({
        "name": name, "address": host.address, "site": host.site, "member": group.member_of(name), "vars": vars,
    })
}
