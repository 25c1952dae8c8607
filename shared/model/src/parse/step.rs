//! One step: exactly one work, the hosts it is done on, and how.

use serde_json::Value;

mod hosts;
mod keys;

use super::{
    Faults,
    names::{Names, Strings, Uses, unreadable},
    shape::Shape,
};
use crate::{
    action::{self, Entry as Action},
    diagnostic::{Diagnostic, code, nearest},
    expression::{Expression, Template},
    plan::{OnFailure, Retry, Unreachable},
    runbook::{
        ActionDefinition, DetachedFile, RETRY_DELAY, RearmFile, RejoinedFile, RetryFile, StepDefinition, TransferFile,
        WorkDefinition,
    },
    schema,
    time::Span,
    yaml::{Content, Entry, Node},
};

/// Where a step stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) precheck: bool,
    pub(super) together: bool,
}

/// Work that is no action on a host.
const OTHER_WORK: &[&str] = &[
    "role.transfer",
    "role.rejoined",
    "role.detached",
    "automatic.rearm",
    "coordinators.unreachable",
    "confirm",
    "approval",
];
/// What the coordinators themselves do, for hosts or without.
pub(super) const UNREACHABLE: &str = "coordinators.unreachable";
/// Keys that are read here; the others of a step are [`StepFile`]'s.
const OWN_KEYS: &[&str] = &["name", "on", "when", "for", "undo", "refuse"];
/// Beside those whose description says that they change nothing.
const PRECHECK_ACTIONS: &[&str] = &["slony.caught_up", "slony.verify"];
struct Reader<'a, 'f> {
    names: Names,
    uses: &'a mut Uses,
    faults: &'a mut Faults<'f>,
}

/// Reads a step. `None` where it is too wrong to be one; then faults say so.
pub(super) fn read(
    node: &Node,
    place: Place,
    names: &Names,
    uses: &mut Uses,
    faults: &mut Faults<'_>,
) -> Option<StepDefinition> {
    let Content::Map(entries) = &node.content else {
        faults.add(
            node.at,
            code::WRONG_VALUE,
            "a step must be a mapping (key: value)",
            "write it as - service.stop: { name: NAME }",
        );
        return None;
    };
    let catalogue = schema::actions();
    let mut reader = Reader { names: names.clone(), uses, faults };
    reader.names.item = node.entry("for").is_some();
    let options = reader.options(entries, catalogue);
    if let Some(name) = &options.register {
        reader.check_register(name, node);
    }
    let (work_entry, work) = reader.work(node, entries, catalogue)?;
    let is_action = matches!(work, WorkDefinition::Action(_));
    let on = reader.on(node, work_entry, is_action);
    if !is_action {
        reader.refuse_host_keys(entries, work_entry);
    }
    if let (Some(guard), Some(entry)) = (&options.guard, node.entry("guard")) {
        reader.check_guard(guard, entry, work_entry, node.entry("refuse").is_some());
    }
    let refuse = node.entry("refuse").map(|entry| reader.refuse(entry, node, work_entry, is_action, place));
    reader.check_place(node, work_entry, &work, place);
    let name = match node.get("name") {
        Some(name) => reader.sentence(name, "\"name\""),
        None => default_name(&work),
    };
    let when = node.get("when").and_then(|when| reader.condition(when));
    let for_each = node.entry("for").and_then(|each| reader.for_each(each));
    if let Some(register) = &options.register {
        reader.names.known.insert(register.clone());
    }
    let undo = node.entry("undo").map(|undo| reader.undo(undo, place, catalogue)).unwrap_or_default();
    let retry = match options.retry {
        None => Retry { attempts: 1, delay: Span::default() },
        Some(RetryFile::Attempts(attempts)) => Retry { attempts, delay: RETRY_DELAY },
        Some(RetryFile::Spaced(retry)) => Retry { attempts: retry.attempts, delay: retry.delay },
    };
    if let Some(window) = node.get("window").filter(|window| window.text().is_some()) {
        reader.uses.windows.push((window.text().unwrap_or_default().to_owned(), window.at));
    }
    Some(StepDefinition {
        name,
        on,
        work,
        when,
        for_each,
        parallel: options.parallel,
        unreachable: options.unreachable.unwrap_or(Unreachable::Fail),
        timeout: options.timeout,
        retry,
        undo,
        on_failure: options.on_failure.unwrap_or(OnFailure::Halt),
        register: options.register,
        keep: options.keep,
        window: options.window,
        refuse,
        guard: options.guard,
        line: node.at.line,
    })
}

impl Reader<'_, '_> {
    fn check_register(&mut self, name: &str, node: &Node) {
        let taken = super::names::ROOTS.contains(&name) || name == "secret" || name == "rows";
        if taken && let Some(entry) = node.entry("register") {
            let message = format!("{name:?} is what expressions call something else");
            self.faults.add(entry.node.at, code::CONTRADICTION, message, "register it under another name");
        }
    }

    /// The one work of the step.
    fn work<'e>(
        &mut self,
        node: &Node,
        entries: &'e [Entry],
        catalogue: &[Action],
    ) -> Option<(&'e Entry, WorkDefinition)> {
        let is_work = |key: &str| OTHER_WORK.contains(&key) || catalogue.iter().any(|action| action.name == key);
        let mut works = entries.iter().filter(|entry| is_work(&entry.key));
        let Some(first) = works.next() else {
            // a misspelt action was told as an unknown key
            let told = self.faults.list.iter().any(|fault| {
                fault.code == code::UNKNOWN_KEY && entries.iter().any(|entry| entry.at.line == fault.line)
            });
            if !told {
                let remedy = "add one action (service.stop, sql.exec, exec.run, …), confirm, approval or role.transfer";
                self.faults.add(node.at, code::MISSING_KEY, "the step does not say what to do", remedy);
            }
            return None;
        };
        for second in works {
            let message = format!("the step has two actions, {:?} and {:?}", first.key, second.key);
            self.faults.add(second.at, code::CONTRADICTION, message, "make a step of each");
        }
        let work = match first.key.as_str() {
            "confirm" => WorkDefinition::Confirm(self.question(first)),
            "approval" => WorkDefinition::Approval(self.question(first)),
            "role.transfer" => {
                let transfer: TransferFile = self.decoded(first, schema::transfer_types());
                if let (Some(false), Some(because)) = (transfer.detach_old, first.node.entry("because")) {
                    let message = "because stands beside detach_old: false, where nobody is detached";
                    self.faults.add(because.at, code::CONTRADICTION, message, "take one of them out");
                }
                WorkDefinition::Transfer { detach_old: transfer.detach_old, because: transfer.because }
            }
            "role.rejoined" => {
                let rejoined: Option<RejoinedFile> = self.decoded_if(first, schema::rejoined_types());
                WorkDefinition::Rejoined { member: rejoined.map(|rejoined| rejoined.member).unwrap_or_default() }
            }
            "role.detached" => {
                let detached: Option<DetachedFile> = self.decoded_if(first, schema::detached_types());
                let (member, because) =
                    detached.map(|detached| (detached.member, detached.because)).unwrap_or_default();
                WorkDefinition::Detached { member, because }
            }
            "automatic.rearm" => {
                let _: RearmFile = self.decoded(first, schema::rearm_types());
                WorkDefinition::Rearm
            }
            UNREACHABLE => WorkDefinition::Unreachable { params: self.params(first, schema::unreached_types()) },
            _ => WorkDefinition::Action(self.action(first, catalogue)),
        };
        Some((first, work))
    }

    fn decoded<T: serde::de::DeserializeOwned + Default>(&mut self, entry: &Entry, schema: &Value) -> T {
        self.decoded_if(entry, schema).unwrap_or_default()
    }

    fn decoded_if<T: serde::de::DeserializeOwned>(&mut self, entry: &Entry, schema: &Value) -> Option<T> {
        serde_json::from_value(self.params(entry, schema)).ok()
    }

    fn params(&mut self, entry: &Entry, schema: &Value) -> Value {
        let strings = Strings::Templates { names: &self.names, uses: self.uses };
        Shape { root: schema, strings, faults: self.faults }.read(&entry.node, schema, &entry.key, entry.at)
    }

    /// An action's parameters, with templates where a scalar may stand.
    fn action(&mut self, entry: &Entry, catalogue: &[Action]) -> ActionDefinition {
        let schema = catalogue.iter().find(|action| action.name == entry.key).map(|action| action.schema.as_value());
        let before = self.faults.list.len();
        let params = schema.map_or(Value::Null, |schema| self.params(entry, schema));
        self.say_where(entry, before);
        if let Some(expect) = entry.node.get("expect").filter(|_| entry.key == "sql.query") {
            self.expectation(expect);
        }
        // A connection's name stands for a definition that is the group's.
        let named = |value: Option<&Value>| value.is_some_and(Value::is_string);
        let replicas = params.get("replicas").and_then(Value::as_array);
        let fixed = !params.to_string().contains("${")
            && !named(params.get("connection"))
            && !replicas.is_some_and(|all| all.iter().any(Value::is_string));
        if self.faults.list.len() == before
            && fixed
            && let Err(error) = action::Action::parse(&entry.key, &params)
        {
            self.faults.add(entry.at, code::WRONG_VALUE, error.to_string(), "");
        }
        ActionDefinition { name: entry.key.clone(), params }
    }

    /// A step's key inside the action, or the action's parameters beside it: says where they belong.
    fn say_where(&mut self, entry: &Entry, before: usize) {
        let options = &schema::step_types()["properties"];
        let misplaced = |fault: &Diagnostic| {
            entry.node.entries().iter().any(|inner| {
                let of_step = options.get(&inner.key).is_some() || OWN_KEYS.contains(&inner.key.as_str());
                of_step && fault.line == inner.at.line && fault.column == inner.at.column
            })
        };
        for fault in &mut self.faults.list[before..] {
            if fault.code == code::UNKNOWN_KEY && misplaced(fault) {
                fault.remedy = format!("it belongs to the step: write it beside {}, not inside", entry.key);
            } else if fault.code == code::MISSING_KEY && entry.node.is_null() {
                fault.remedy.push_str(&format!("; it stands below {}, indented by two spaces more", entry.key));
            }
        }
    }

    /// `expect` of `sql.query` is evaluated on the host, over `rows` alone.
    fn expectation(&mut self, node: &Node) {
        let Some(text) = node.text().filter(|text| !text.contains("${")) else { return };
        match Expression::parse(text) {
            Err(error) => unreadable(&error, node.at, self.faults),
            Ok(expression) => {
                for root in expression.references().into_iter().filter(|root| root != "rows") {
                    let message = format!("{text:?} reads {root}; expect is evaluated over rows alone");
                    let remedy = format!("put the value in: ${{{root}…}}; rows are read as rows[0].column, size(rows)");
                    self.faults.add(node.at, code::UNKNOWN_NAME, message, remedy);
                }
            }
        }
    }

    fn question(&mut self, entry: &Entry) -> String {
        let text = self.sentence(&entry.node, &format!("{:?}", entry.key));
        if text.trim().is_empty() && entry.node.scalar().is_some() {
            let message = format!("{:?} asks nothing", entry.key);
            self.faults.add(entry.at, code::WRONG_VALUE, message, "write what the person must make sure of");
        }
        text
    }

    /// Text for a person, with templates and without secrets.
    fn sentence(&mut self, node: &Node, label: &str) -> String {
        let Some(text) = node.scalar() else {
            self.faults.add(
                node.at,
                code::WRONG_VALUE,
                format!("{label} must be text"),
                "put it in quotes if it holds \": \" or begins with [ or {",
            );
            return String::new();
        };
        let mut strings = Strings::Templates { names: &self.names, uses: self.uses };
        if strings.take_template(&text.raw) {
            strings.template(&text.raw, node.at, label, false, self.faults);
        }
        text.raw.clone()
    }

    /// An expression, also when somebody put it into `${}`.
    fn condition(&mut self, node: &Node) -> Option<String> {
        let Some(scalar) = node.scalar().filter(|scalar| !scalar.value.is_null()) else {
            self.faults.add(
                node.at,
                code::WRONG_VALUE,
                "\"when\" must be an expression",
                "write it as in when: input.mode == 'full'",
            );
            return None;
        };
        let text = scalar.raw.trim();
        let bare = match Template::parse(text) {
            Ok(template) => match template.whole() {
                Some(expression) => expression.source().to_owned(),
                None => text.to_owned(),
            },
            Err(_) => text.to_owned(),
        };
        match Expression::parse(&bare) {
            Ok(expression) => {
                self.names.check(&expression, node.at, self.uses, self.faults);
                Some(bare)
            }
            Err(error) => {
                unreadable(&error, node.at, self.faults);
                None
            }
        }
    }

    /// A list, or something that gives one when the plan is made.
    fn for_each(&mut self, entry: &Entry) -> Option<Value> {
        let node = &entry.node;
        // the list itself is made before there is an item
        let names = Names { item: false, ..self.names.clone() };
        match &node.content {
            Content::List(items) if items.is_empty() => {
                self.faults.add(
                    node.at,
                    code::WRONG_VALUE,
                    "\"for\" has nothing to go over",
                    "write for: [first, second]",
                );
                None
            }
            Content::List(_) => {
                let strings = Strings::Templates { names: &names, uses: self.uses };
                Some(Shape { root: &Value::Null, strings, faults: self.faults }.read_any(node))
            }
            Content::Scalar(scalar) if scalar.value.is_string() => {
                let text = scalar.raw.trim();
                let expression = match Template::parse(text).map(|template| template.whole().cloned()) {
                    Ok(Some(expression)) => Ok(expression),
                    Ok(None) => Expression::parse(text),
                    Err(error) => Err(error),
                };
                match expression {
                    Ok(expression) => {
                        names.check(&expression, node.at, self.uses, self.faults);
                        Some(Value::from(format!("${{{}}}", expression.source())))
                    }
                    Err(_) if text.contains(',') && !text.contains("${") => {
                        let message = format!("\"for\" must be a list, not the text {text:?}");
                        self.faults.add(node.at, code::WRONG_VALUE, message, format!("write for: [{text}]"));
                        None
                    }
                    Err(error) => {
                        unreadable(&error, node.at, self.faults);
                        None
                    }
                }
            }
            Content::Scalar(_) | Content::Map(_) => {
                let remedy = "write for: [first, second] or for: \"${vars.names}\"";
                self.faults.add(node.at, code::WRONG_VALUE, "\"for\" must be a list", remedy);
                None
            }
        }
    }

    fn undo(&mut self, entry: &Entry, place: Place, catalogue: &[Action]) -> Vec<ActionDefinition> {
        if place.precheck {
            self.faults.add(
                entry.at,
                code::CONTRADICTION,
                "a precheck changes nothing, so there is nothing to undo",
                "take undo out",
            );
            return Vec::new();
        }
        let nodes: Vec<&Node> = match &entry.node.content {
            Content::List(items) => items.iter().collect(),
            Content::Map(_) => vec![&entry.node],
            Content::Scalar(_) => Vec::new(),
        };
        if nodes.is_empty() {
            self.faults.add(
                entry.node.at,
                code::WRONG_VALUE,
                "\"undo\" must be an action",
                "write it as in undo: { service.start: { name: NAME } }",
            );
        }
        let mut undo = Vec::new();
        for action in nodes.into_iter().flat_map(Node::entries) {
            if catalogue.iter().any(|known| known.name == action.key) {
                undo.push(self.action(action, catalogue));
                continue;
            }
            let remedy = match nearest(&action.key, catalogue.iter().map(|known| known.name)) {
                Some(name) => format!("did you mean {name:?}?"),
                None => "write it as in undo: { service.start: { name: NAME } }".to_owned(),
            };
            self.faults.add(
                action.at,
                code::UNKNOWN_KEY,
                format!("there is no action {:?} to undo with", action.key),
                remedy,
            );
        }
        undo
    }

    fn check_place(&mut self, node: &Node, entry: &Entry, work: &WorkDefinition, place: Place) {
        match work {
            WorkDefinition::Action(action) if place.precheck && !changes_nothing(&action.name) => {
                let message = format!("{} changes something, and prechecks must not", action.name);
                let remedy =
                    "move it to steps, or check with service.running, process.running, sql.query or wait.until";
                self.faults.add(entry.at, code::CONTRADICTION, message, remedy);
            }
            WorkDefinition::Transfer { .. }
            | WorkDefinition::Rejoined { .. }
            | WorkDefinition::Detached { .. }
            | WorkDefinition::Rearm
                if place.precheck =>
            {
                let message = format!("{} changes something, and prechecks must not", entry.key);
                self.faults.add(entry.at, code::CONTRADICTION, message, "move it to steps");
            }
            WorkDefinition::Transfer { .. } if place.together => {
                let remedy = "the role moves alone, between two steps; take it out of together";
                self.faults.add(entry.at, code::CONTRADICTION, "role.transfer stands in together", remedy);
            }
            _ => {}
        }
        let alone = matches!(work, WorkDefinition::Transfer { .. });
        for key in ["for", "when"] {
            if alone && let Some(entry) = node.entry(key) {
                let message = format!("{key:?} stands beside role.transfer, which happens once in every run");
                self.faults.add(
                    entry.at,
                    code::CONTRADICTION,
                    message,
                    "take it out; two ways to run are two runbooks",
                );
            }
        }
    }
}

/// The catalogue's own words say it.
pub(super) fn changes_nothing(name: &str) -> bool {
    let entry = schema::actions().iter().find(|action| action.name == name);
    PRECHECK_ACTIONS.contains(&name) || entry.is_some_and(|action| action.changes.starts_with("Changes nothing"))
}

/// `service.stop POM`.
fn default_name(work: &WorkDefinition) -> String {
    match work {
        WorkDefinition::Action(action) => {
            let telling = ["name", "path", "program", "to", "url", "host", "sql"];
            let told = telling.iter().find_map(|key| action.params.get(key)?.as_str()).map(first_line);
            let program = || {
                let argv = action.params.get("argv")?.as_array()?;
                argv.first()?.as_str().map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            };
            match told.or_else(program) {
                Some(what) => format!("{} {what}", action.name),
                None => action.name.clone(),
            }
        }
        WorkDefinition::Transfer { .. } => "role.transfer".to_owned(),
        WorkDefinition::Rejoined { member } => format!("role.rejoined {member}"),
        WorkDefinition::Rearm => "automatic.rearm".to_owned(),
        WorkDefinition::Detached { member, .. } => format!("role.detached {member}"),
        WorkDefinition::Unreachable { .. } => UNREACHABLE.to_owned(),
        WorkDefinition::Confirm(text) | WorkDefinition::Approval(text) => first_line(text),
    }
}

/// The beginning of a text, never cut inside a template.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    let short: String = line.chars().take(80).collect();
    let whole = match short.rfind("${") {
        Some(open) if short.len() < line.len() && !short[open..].contains('}') => &short[..open],
        _ => short.as_str(),
    };
    whole.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn a_name_made_from_a_text_is_not_cut_inside_a_template() {
        let text = format!("{} ${{old.name}} is away", "w".repeat(75));
        assert_eq!(first_line(&text), "w".repeat(75));
        assert_eq!(first_line("Is ${old.name} away?\nReally?"), "Is ${old.name} away?");
        assert_eq!(first_line(&"é".repeat(200)).chars().count(), 80);
    }
}
