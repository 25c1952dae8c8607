//! Steps of a runbook become steps of a plan: hosts named, values resolved, turns of `for` laid out.

use std::collections::{BTreeMap, BTreeSet};

use baton_model::{
    action::{self, Action},
    expression::{Expression, ExpressionError, Scope, render},
    group::Group,
    ids::{ComponentName, HostName, MemberName, StepId},
    outcome::Fault,
    plan::{Condition, Kind, Refusal, Sentence, Stage, Step, StepWindow, Task, Work},
    runbook::{ActionDefinition, Block, Runbook, Selector, StepDefinition, Unreached, WorkDefinition},
    time::{Moment, Span},
};
use serde_json::Value;

use crate::request::{Situation, named_window};

/// Tasks of one plan, at most: replicated state stays small.
pub const TASKS_MAX: usize = 20_000;
/// Endpoints that one step has the coordinators try, at most: what each saw stands in the log.
pub const ENDPOINTS_MAX: usize = 64;

/// Everything that stays the same from step to step.
struct Binding<'a> {
    group: &'a Group,
    runbook: &'a Runbook,
    situation: &'a Situation,
    new: Option<&'a MemberName>,
    scope: &'a Scope,
    /// Of the request: from here on windows are listed.
    now: Moment,
    timeouts: BTreeMap<&'static str, Span>,
    /// Names that earlier steps register: values that exist only while the run goes on.
    deferred: BTreeSet<String>,
}

pub(crate) fn stages(
    group: &Group,
    runbook: &Runbook,
    situation: &Situation,
    new: Option<&MemberName>,
    scope: &Scope,
    now: Moment,
) -> Result<Vec<Stage>, Fault> {
    let timeouts = action::catalogue().into_iter().map(|entry| (entry.name, entry.timeout)).collect();
    let mut binding = Binding { group, runbook, situation, new, scope, now, timeouts, deferred: BTreeSet::new() };
    let mut stages = Vec::new();
    for (number, block) in runbook.prechecks.iter().enumerate() {
        binding.block(block, &format!("p{}", number + 1), true, &mut stages)?;
    }
    for (number, block) in runbook.steps.iter().enumerate() {
        binding.block(block, &(number + 1).to_string(), false, &mut stages)?;
    }
    let tasks: usize = stages.iter().flat_map(|stage| &stage.steps).map(tasks_of).sum();
    if tasks > TASKS_MAX {
        return Err(Fault::new(
            "BTN-0136",
            format!("runbook {} makes {tasks} tasks; at most {TASKS_MAX} fit in a run.", runbook.name),
            "Split it.",
        ));
    }
    Ok(stages)
}

/// What can lose data is never part of a run that nobody asked to be forced, whatever let the runbook in.
pub(crate) fn forced_only(runbook: &Runbook) -> Result<(), Fault> {
    let losing = |action: &ActionDefinition| runbook.kind != Kind::Forced && action::loses_data(&action.name);
    match runbook.all_actions().find(|(_, action)| losing(action)) {
        None => Ok(()),
        Some((step, action)) => Err(Fault::new(
            "BTN-0152",
            format!(
                "runbook {}, line {}, step \"{}\": {} can lose data, and the runbook is not forced.",
                runbook.name, step.line, step.name, action.name
            ),
            "Write kind: forced into the runbook, apply it and start it with \"baton failover\"; or fail over without loss.",
        )),
    }
}

fn tasks_of(step: &Step) -> usize {
    match &step.work {
        Work::Act { tasks } => tasks.len(),
        Work::Transfer { .. }
        | Work::Rejoin { .. }
        | Work::Detach { .. }
        | Work::Rearm
        | Work::ProveUnreachable { .. }
        | Work::Confirm { .. }
        | Work::Approval { .. } => 0,
    }
}

impl Binding<'_> {
    fn block(&mut self, block: &Block, id: &str, precheck: bool, stages: &mut Vec<Stage>) -> Result<(), Fault> {
        match block {
            // Turns of a `for` come one after the other.
            Block::One(step) => {
                for turn in self.turns(step, id)? {
                    let steps = vec![self.step(step, &turn)?];
                    stages.push(Stage { precheck, steps });
                }
            }
            Block::Together(together) => {
                let mut steps = Vec::new();
                for (number, step) in together.iter().enumerate() {
                    for turn in self.turns(step, &format!("{id}.{}", number + 1))? {
                        steps.push(self.step(step, &turn)?);
                    }
                }
                stages.push(Stage { precheck, steps });
            }
        }
        self.deferred.extend(block.steps().iter().filter_map(|step| step.register.clone()));
        Ok(())
    }

    fn turns(&self, step: &StepDefinition, id: &str) -> Result<Vec<Turn>, Fault> {
        let Some(each) = &step.for_each else {
            return Ok(vec![Turn { id: StepId(id.to_owned()), scope: self.scope.clone(), label: None }]);
        };
        let rendered = self.render(each, self.scope, step)?;
        let (Value::Array(items), false) = (&rendered.value, rendered.deferred) else {
            return Err(self.wrong(step, format!("for: {} is not a list known before the run", rendered.value)));
        };
        let labels = labels(items);
        Ok(items
            .iter()
            .zip(labels)
            .map(|(item, label)| {
                let mut scope = self.scope.clone();
                scope.insert("item".to_owned(), item.clone());
                Turn { id: StepId(format!("{id}[{label}]")), scope, label: Some(label) }
            })
            .collect())
    }

    fn step(&self, step: &StepDefinition, turn: &Turn) -> Result<Step, Fault> {
        let condition = self.condition(step, &turn.scope)?;
        // A step that will not run needs no values: what they refer to may not exist.
        let left_out = matches!(condition, Condition::Never(_));
        let hosts = if left_out { Vec::new() } else { self.hosts(step, &turn.scope)? };
        let work = match &step.work {
            WorkDefinition::Action(_) if left_out => Work::Act { tasks: Vec::new() },
            WorkDefinition::Action(action) => Work::Act { tasks: self.tasks(step, action, &hosts, turn)? },
            WorkDefinition::Transfer { detach_old, because } => {
                let detach_old = detach_old.unwrap_or(self.runbook.kind == Kind::Forced);
                let because = because.as_ref().filter(|_| detach_old);
                let because = because.map(|text| self.sentence(step, text, &turn.scope)).transpose()?;
                Work::Transfer { detach_old, because }
            }
            WorkDefinition::Detached { member, because } => Work::Detach {
                member: self.member(step, member, &turn.scope)?,
                because: self.sentence(step, because, &turn.scope)?,
            },
            WorkDefinition::Rejoined { member } => Work::Rejoin { member: self.member(step, member, &turn.scope)? },
            WorkDefinition::Rearm => Work::Rearm,
            WorkDefinition::Unreachable { .. } if left_out => {
                Work::ProveUnreachable { endpoints: Vec::new(), from: 1, guard: step.guard.clone() }
            }
            WorkDefinition::Unreachable { params } => self.unreachable(step, params, &hosts, turn)?,
            WorkDefinition::Confirm(text) => Work::Confirm { text: self.text(step, text, &turn.scope)? },
            WorkDefinition::Approval(text) => Work::Approval { text: self.text(step, text, &turn.scope)? },
        };
        let mut undo = Vec::new();
        for action in step.undo.iter().filter(|_| !left_out) {
            undo.extend(self.tasks(step, action, &hosts, turn)?);
        }
        let named = step.window.as_ref().filter(|_| !left_out);
        let window = named.map(|name| {
            named_window(self.group, self.runbook, name).map(|window| StepWindow::new(name, window, self.now))
        });
        let window = window.transpose()?;
        let timeout = step.timeout.unwrap_or_else(|| match &step.work {
            WorkDefinition::Action(action) => {
                self.timeouts.get(action.name.as_str()).copied().unwrap_or(Span::from_secs(60))
            }
            // Of each connection.
            WorkDefinition::Unreachable { .. } => Span::from_secs(5),
            _ => Span::from_secs(0),
        });
        let refusal = self.refusal(step, &work, &condition, &turn.scope)?;
        let name = if left_out { step.name.clone() } else { self.text(step, &step.name, &turn.scope)? };
        let name = match &turn.label {
            Some(label) if !name.contains(label.as_str()) => format!("{name} ({label})"),
            _ => name,
        };
        Ok(Step {
            id: turn.id.clone(),
            name,
            work,
            condition,
            timeout,
            retry: step.retry,
            on_failure: step.on_failure,
            unreachable: step.unreachable,
            parallel: step.parallel,
            register: step.register.clone(),
            keep: step.keep.clone(),
            item: turn.scope.get("item").cloned(),
            window,
            refusal,
            undo,
        })
    }

    /// What is asked of hosts before there is a run cannot depend on what the run finds.
    fn refusal(
        &self,
        step: &StepDefinition,
        work: &Work,
        condition: &Condition,
        scope: &Scope,
    ) -> Result<Option<Refusal>, Fault> {
        let Some(text) = step.refuse.as_ref().filter(|_| !matches!(condition, Condition::Never(_))) else {
            return Ok(None);
        };
        let waits = matches!(work, Work::Act { tasks } if tasks.iter().any(|task| task.deferred));
        let remedy = self.sentence(step, text, scope)?;
        if waits || remedy.deferred || matches!(condition, Condition::Deferred(_)) {
            let what = "it has refuse, and what is looked at before the run cannot depend on what earlier steps find";
            return Err(self.wrong(step, what.to_owned()));
        }
        Ok(Some(Refusal { remedy: remedy.text, guard: step.guard.clone() }))
    }

    fn condition(&self, step: &StepDefinition, scope: &Scope) -> Result<Condition, Fault> {
        let Some(text) = &step.when else { return Ok(Condition::Always) };
        let expression = Expression::parse(text).map_err(|error| self.wrong(step, format!("when: {error}")))?;
        if expression.references().iter().any(|name| self.deferred.contains(name)) {
            return Ok(Condition::Deferred(text.clone()));
        }
        match expression.evaluate(scope).map_err(|error| self.unresolved(step, &error))? {
            Value::Bool(true) => Ok(Condition::Always),
            Value::Bool(false) => Ok(Condition::Never(text.clone())),
            other => Err(self.wrong(step, format!("when: {text} is {other}, not true or false"))),
        }
    }

    fn hosts(&self, step: &StepDefinition, scope: &Scope) -> Result<Vec<HostName>, Fault> {
        let mut hosts: Vec<HostName> = Vec::new();
        for selector in &step.on {
            let found: Vec<HostName> = match selector {
                Selector::Role(role) => self.group.hosts_with_role(role).into_iter().cloned().collect(),
                Selector::Old(role) => self.group.hosts_of(&self.situation.primary, role).to_vec(),
                Selector::New(role) => {
                    let new = self.new.ok_or_else(|| {
                        self.wrong(step, format!("\"{selector}\" needs a target member; name one with --to"))
                    })?;
                    self.group.hosts_of(new, role).to_vec()
                }
                Selector::Others(role) => self
                    .group
                    .members
                    .keys()
                    .filter(|member| **member != self.situation.primary && Some(*member) != self.new)
                    .flat_map(|member| self.group.hosts_of(member, role).to_vec())
                    .collect(),
                Selector::Host(name) => {
                    let name = self.text(step, name, scope)?;
                    let host = HostName::new(name).map_err(|error| self.wrong(step, error.to_string()))?;
                    if !self.group.hosts.contains_key(&host) {
                        return Err(self.wrong(step, format!("host {host} is not one of the group's hosts")));
                    }
                    vec![host]
                }
            };
            if found.is_empty() && !matches!(selector, Selector::Others(_)) {
                return Err(self.wrong(step, format!("\"{selector}\" names no host of group {}", self.group.name)));
            }
            for host in found {
                if !hosts.contains(&host) {
                    hosts.push(host);
                }
            }
        }
        Ok(hosts)
    }

    fn tasks(
        &self,
        step: &StepDefinition,
        action: &ActionDefinition,
        hosts: &[HostName],
        turn: &Turn,
    ) -> Result<Vec<Task>, Fault> {
        // One scope for all hosts: a thousand hosts must not make a thousand copies of a scope that holds a thousand hosts.
        let mut scope = turn.scope.clone();
        hosts
            .iter()
            .map(|host| {
                if let Some(value) = self.scope.get("hosts").and_then(|hosts| hosts.get(host.as_str())) {
                    scope.insert("host".to_owned(), value.clone());
                }
                let mut rendered = self.render(&action.params, &scope, step)?;
                rendered.deferred |= self.named_connections(step, &mut rendered.value, &scope)?;
                if !rendered.deferred {
                    Action::parse(&action.name, &rendered.value)
                        .map_err(|error| self.wrong(step, format!("on {host}: {error}")))?;
                }
                Ok(Task {
                    host: host.clone(),
                    action: action.name.clone(),
                    params: rendered.value,
                    deferred: rendered.deferred,
                })
            })
            .collect()
    }

    /// Connections that are named (`connection`, and each of `replicas`) are looked up in the group and rendered for the
    /// same host. Whether something in them is deferred.
    fn named_connections(&self, step: &StepDefinition, params: &mut Value, scope: &Scope) -> Result<bool, Fault> {
        let mut deferred = false;
        let mut look_up = |slot: &mut Value| {
            let Some(name) = slot.as_str().filter(|name| !name.contains("${")) else { return Ok(()) };
            let rendered = self.render(self.connection(step, name)?, scope, step)?;
            deferred |= rendered.deferred;
            *slot = rendered.value;
            Ok(())
        };
        if let Some(slot) = params.get_mut("connection") {
            look_up(slot)?;
        }
        if let Some(Value::Array(replicas)) = params.get_mut("replicas") {
            replicas.iter_mut().try_for_each(look_up)?;
        }
        Ok(deferred)
    }

    fn connection(&self, step: &StepDefinition, name: &str) -> Result<&Value, Fault> {
        self.group.connections.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.group.connections.keys().map(String::as_str).collect();
            self.wrong(
                step,
                format!("group {} has no connection {name:?} (it has: {})", self.group.name, known.join(", ")),
            )
        })
    }

    /// What the coordinators try, for each host of the step or once.
    fn unreachable(
        &self,
        step: &StepDefinition,
        params: &Value,
        hosts: &[HostName],
        turn: &Turn,
    ) -> Result<Work, Fault> {
        let mut scope = turn.scope.clone();
        let mut endpoints: Vec<String> = Vec::new();
        let mut from = 1;
        let mut one = |scope: &Scope| {
            let rendered = self.render(params, scope, step)?;
            if rendered.deferred {
                return Err(self.wrong(step, "what is tried must be known before the run".to_owned()));
            }
            let read: Unreached =
                serde_json::from_value(rendered.value).map_err(|error| self.wrong(step, error.to_string()))?;
            from = read.from;
            for endpoint in read.tcp {
                if !is_endpoint(&endpoint) {
                    return Err(self.wrong(step, format!("{endpoint:?} is not HOST:PORT")));
                }
                if !endpoints.contains(&endpoint) {
                    endpoints.push(endpoint);
                }
            }
            Ok(())
        };
        if hosts.is_empty() {
            one(&scope)?;
        }
        for host in hosts {
            if let Some(value) = self.scope.get("hosts").and_then(|hosts| hosts.get(host.as_str())) {
                scope.insert("host".to_owned(), value.clone());
            }
            one(&scope)?;
        }
        if endpoints.is_empty() || endpoints.len() > ENDPOINTS_MAX || !(1..=32).contains(&from) {
            let what = format!(
                "it names {} endpoints from {from} coordinators; 1 to {ENDPOINTS_MAX} from 1 to 32 can be tried",
                endpoints.len()
            );
            return Err(self.wrong(step, what));
        }
        Ok(Work::ProveUnreachable { endpoints, from, guard: step.guard.clone() })
    }

    fn member(&self, step: &StepDefinition, text: &str, scope: &Scope) -> Result<MemberName, Fault> {
        let name = self.text(step, text, scope)?;
        let member = MemberName::new(name).map_err(|error| self.wrong(step, error.to_string()))?;
        if !self.group.members.contains_key(&member) {
            return Err(self.wrong(step, format!("group {} has no member {member}", self.group.name)));
        }
        Ok(member)
    }

    fn sentence(&self, step: &StepDefinition, text: &str, scope: &Scope) -> Result<Sentence, Fault> {
        let rendered = self.render(&Value::String(text.to_owned()), scope, step)?;
        let text = match rendered.value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(Sentence { text, deferred: rendered.deferred })
    }

    fn text(&self, step: &StepDefinition, text: &str, scope: &Scope) -> Result<String, Fault> {
        let rendered = self.render(&Value::String(text.to_owned()), scope, step)?;
        Ok(match rendered.value {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    fn render(
        &self,
        value: &Value,
        scope: &Scope,
        step: &StepDefinition,
    ) -> Result<baton_model::expression::Rendered, Fault> {
        render(value, scope, &self.deferred).map_err(|error| self.unresolved(step, &error))
    }

    fn unresolved(&self, step: &StepDefinition, error: &ExpressionError) -> Fault {
        self.wrong(step, error.to_string())
    }

    fn wrong(&self, step: &StepDefinition, what: String) -> Fault {
        Fault::new(
            "BTN-0137",
            format!("runbook {}, line {}, step \"{}\": {what}.", self.runbook.name, step.line, step.name),
            "Mend the runbook or the group file and apply it again.",
        )
    }
}

/// `db1.example.org:5041`, `10.0.0.1:5041` or `[::1]:5041`.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let named = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) && !host.is_empty(),
    };
    named
        && host.len() <= 255
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Names turns by their items where these are distinct plain names, else by number: a step's id is unique in its plan.
fn labels(items: &[Value]) -> Vec<String> {
    let names: BTreeSet<&str> =
        items.iter().filter_map(Value::as_str).filter(|item| ComponentName::new(*item).is_ok()).collect();
    if names.len() == items.len() {
        return items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    (1..=items.len()).map(|number| number.to_string()).collect()
}

/// One turn of a `for`, or the only one.
struct Turn {
    id: StepId,
    scope: Scope,
    label: Option<String>,
}
