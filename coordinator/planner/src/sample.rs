//! What a group's samples ask of which host, and who is who in a data-loss bill. Pure, like every plan.

use baton_model::{
    action::Action,
    bill::Parties,
    expression::{Scope, render},
    group::{Group, Sample},
    ids::{HostName, SampleName},
    outcome::Fault,
    plan::Plan,
    time::Span,
};
use serde_json::Value;

use crate::{Situation, scope};

/// The action whose answers a bill is made of.
const BILLED: &str = "mssql.ag.sample";

/// One question to one host, every value resolved but secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub sample: SampleName,
    pub host: HostName,
    pub every: Span,
    pub asked: Result<Asked, Fault>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub action: String,
    pub params: Value,
}

/// Every question of a group. One that cannot be asked is there too, with why.
pub fn questions(group: &Group, situation: &Situation) -> Vec<Question> {
    let base = scope::of_group(group, situation, group.vars.clone().into_iter().collect());
    let mut questions = Vec::new();
    for (name, sample) in &group.samples {
        for host in group.hosts_with_role(&sample.on) {
            let mut scope = base.clone();
            scope.insert("host".to_owned(), scope::host(group, host));
            let asked = sample.question().ok_or_else(|| "it has no action".to_owned());
            let asked = asked.and_then(|(action, params)| ask(group, action, params, &scope));
            let asked = asked.map_err(|why| {
                let message = format!("sample {name} of group {} cannot be asked of {host}: {why}.", group.name);
                Fault::new("BTN-0174", message, "Mend the group file and apply it again.")
            });
            questions.push(Question { sample: name.clone(), host: host.clone(), every: sample.every, asked });
        }
    }
    questions
}

fn ask(group: &Group, action: &str, params: &Value, scope: &Scope) -> Result<Asked, String> {
    let params = resolve(group, params, scope)?;
    Action::parse(action, &params).map_err(|error| error.to_string())?;
    Ok(Asked { action: action.to_owned(), params })
}

/// Parameters with every value filled in but secrets, for one host; connections that are named are the group's.
pub(crate) fn resolve(group: &Group, params: &Value, scope: &Scope) -> Result<Value, String> {
    let fill = |value: &Value| {
        let rendered = render(value, scope, &Default::default()).map_err(|error| error.to_string())?;
        Ok::<Value, String>(rendered.value)
    };
    let mut params = fill(params)?;
    // A connection's name stands for the group's definition, and that is for this host too.
    let look_up = |slot: &mut Value| {
        let Some(name) = slot.as_str() else { return Ok(()) };
        let connection = group.connections.get(name).ok_or_else(|| {
            let known: Vec<&str> = group.connections.keys().map(String::as_str).collect();
            format!("there is no connection {name:?} (there is: {})", known.join(", "))
        })?;
        *slot = fill(connection)?;
        Ok::<(), String>(())
    };
    // Of an action, or one level down: the query of a component's probe.
    if let Some(slot) = params.get_mut("connection") {
        look_up(slot)?;
    }
    if let Some(slot) = params.get_mut("sql").and_then(|query| query.get_mut("connection")) {
        look_up(slot)?;
    }
    if let Some(Value::Array(replicas)) = params.get_mut("replicas") {
        replicas.iter_mut().try_for_each(look_up)?;
    }
    Ok(params)
}

/// Who would lose and who would take over in a plan that can lose data.
pub fn parties(group: &Group, plan: &Plan) -> Parties {
    let hosts_of = |member| group.members.get(member).into_iter().flat_map(|member| member.hosts.values());
    let of_new = || plan.new.iter().flat_map(hosts_of).flat_map(|hosts| hosts.0.clone()).collect();
    let losing = plan.losing_hosts();
    // Whatever else a group samples is kept and watched, and says nothing of a database's log.
    let told = |sample: &Sample| sample.question().is_some_and(|(action, _)| action == BILLED);
    Parties {
        asked: group
            .samples
            .iter()
            .filter(|(_, sample)| told(sample))
            .map(|(name, sample)| (name.clone(), group.hosts_with_role(&sample.on).into_iter().cloned().collect()))
            .collect(),
        old: hosts_of(&plan.old).flat_map(|hosts| hosts.0.clone()).collect(),
        // The hosts on which it is forced, where any of them is asked; an agent may do it for another machine.
        target: match group
            .samples
            .values()
            .flat_map(|sample| group.hosts_with_role(&sample.on))
            .any(|host| losing.contains(host))
        {
            true => losing,
            false => of_new(),
        },
    }
}
