//! Statements that a client prepared and calls by number.
//!
//! Apart because the engine knows only `sp_executesql`: what a handle stands for is the session's. Pure.

use std::collections::BTreeMap;

use super::request::Call;
use crate::answer::{Message, Parameter, Request, Value};

/// A session's handles.
#[derive(Debug, Default)]
pub struct Prepared {
    last: i32,
    statements: BTreeMap<i32, Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    text: String,
    declarations: String,
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// The engine is asked, and the client is told the handle of what it prepared with it.
    Ask {
        request: Request,
        tell: Option<Parameter>,
    },
    /// The client is told a handle, and nothing is run.
    Tell(Parameter),
    /// The session goes back to its beginning.
    Reset,
    Nothing,
    Refused(Message),
}

/// How many handles a session may hold.
const HANDLES_MAX: usize = 1000;

impl Prepared {
    /// What the session does with this call.
    pub fn meaning(&mut self, call: Call) -> Meaning {
        let bare = call.name.rsplit('.').next().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        match bare.as_str() {
            "sp_executesql" => ask(execute_sql(call.parameters)),
            "sp_prepare" => match self.prepare(&call.parameters) {
                Ok((handle, _)) => Meaning::Tell(handle),
                Err(refusal) => Meaning::Refused(refusal),
            },
            "sp_prepexec" => match self.prepare(&call.parameters) {
                Ok((handle, statement)) => {
                    let values = call.parameters.into_iter().skip(3).collect();
                    Meaning::Ask { request: statement.request(values), tell: Some(handle) }
                }
                Err(refusal) => Meaning::Refused(refusal),
            },
            "sp_execute" => match handle_of(&call.parameters).and_then(|handle| self.statements.get(&handle)) {
                Some(statement) => {
                    let statement = statement.clone();
                    ask(statement.request(call.parameters.into_iter().skip(1).collect()))
                }
                None => Meaning::Refused(no_such_handle(&call.parameters)),
            },
            "sp_unprepare" => match handle_of(&call.parameters).and_then(|handle| self.statements.remove(&handle)) {
                Some(_) => Meaning::Nothing,
                None => Meaning::Refused(no_such_handle(&call.parameters)),
            },
            "sp_reset_connection" => {
                *self = Self::default();
                Meaning::Reset
            }
            name if name.starts_with("sp_cursor") || name == "sp_prepexecrpc" => {
                Meaning::Refused(error(2812, format!("Could not find stored procedure '{name}'.")))
            }
            _ => ask(Request::Procedure { name: call.name, parameters: call.parameters }),
        }
    }

    /// Parameters: handle (output), declarations, statement.
    fn prepare(&mut self, parameters: &[Parameter]) -> Result<(Parameter, Statement), Message> {
        let [handle, declarations, text, ..] = parameters else {
            return Err(error(201, "Procedure or function 'sp_prepare' expects a parameter, which was not supplied."));
        };
        let (declarations, text) = match (&declarations.value, &text.value) {
            (Value::Text(declarations), Value::Text(text)) => (declarations.clone(), text.clone()),
            (Value::Null, Value::Text(text)) => (String::new(), text.clone()),
            _ => return Err(error(214, "Procedure expects parameter '@statement' of type 'ntext/nchar/nvarchar'.")),
        };
        if self.statements.len() >= HANDLES_MAX {
            return Err(error(8622, "The session holds too many prepared statements."));
        }
        self.last += 1;
        let statement = Statement { text, declarations };
        self.statements.insert(self.last, statement.clone());
        let told = Parameter { name: handle.name.clone(), value: Value::Int(self.last), output: true };
        Ok((told, statement))
    }
}

fn ask(request: Request) -> Meaning {
    Meaning::Ask { request, tell: None }
}

fn handle_of(parameters: &[Parameter]) -> Option<i32> {
    match parameters.first()?.value {
        Value::Int(handle) => Some(handle),
        _ => None,
    }
}

fn no_such_handle(parameters: &[Parameter]) -> Message {
    let handle = handle_of(parameters).unwrap_or_default();
    error(8179, format!("Could not find prepared statement with handle {handle}."))
}

impl Statement {
    fn request(self, values: Vec<Parameter>) -> Request {
        let mut parameters = vec![text(self.text)];
        if !values.is_empty() {
            parameters.push(text(self.declarations));
            parameters.extend(values);
        }
        execute_sql(parameters)
    }
}

fn text(text: String) -> Parameter {
    Parameter { name: String::new(), value: Value::Text(text), output: false }
}

/// Gives every parameter its name: the first two have fixed ones, the others those of their declarations.
fn execute_sql(mut parameters: Vec<Parameter>) -> Request {
    for (parameter, name) in parameters.iter_mut().zip(["@stmt", "@params"]) {
        name.clone_into(&mut parameter.name);
    }
    let declared = match parameters.get(1).map(|declarations| &declarations.value) {
        Some(Value::Text(declarations)) => declared_names(declarations),
        _ => Vec::new(),
    };
    for (parameter, name) in parameters.iter_mut().skip(2).zip(declared) {
        if parameter.name.is_empty() {
            parameter.name = name;
        }
    }
    Request::Procedure { name: "sp_executesql".to_owned(), parameters }
}

/// The names in `@a int, @b decimal(10,2) OUTPUT`.
fn declared_names(declarations: &str) -> Vec<String> {
    let mut depth = 0_usize;
    declarations
        .split(|character| {
            match character {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ',' && depth == 0
        })
        .filter_map(|declaration| declaration.split_whitespace().next())
        .filter(|name| name.starts_with('@'))
        .map(str::to_owned)
        .collect()
}

fn error(number: i32, text: impl Into<String>) -> Message {
    Message { number, state: 1, class: 16, text: text.into(), procedure: String::new(), line: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: Value) -> Parameter {
        Parameter { name: String::new(), value, output: false }
    }

    fn call(name: &str, values: Vec<Value>) -> Call {
        Call { name: name.into(), parameters: values.into_iter().map(value).collect() }
    }

    fn names(request: &Request) -> Vec<String> {
        match request {
            Request::Procedure { parameters, .. } => parameters.iter().map(|p| p.name.clone()).collect(),
            Request::Batch(_) => Vec::new(),
        }
    }

    #[test]
    fn values_take_the_names_of_their_declarations() {
        let declarations = "@a int, @b decimal(10,2),@c nvarchar(max) OUTPUT";
        let values = vec![Value::Text("x".into()), Value::Text(declarations.into()), Value::Int(1), Value::Int(2)];
        match Prepared::default().meaning(call("sys.sp_executesql", values)) {
            Meaning::Ask { request, tell: None } => assert_eq!(names(&request), ["@stmt", "@params", "@a", "@b"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_handle_lives_until_it_is_given_back() {
        let mut prepared = Prepared::default();
        let statement = vec![Value::Null, Value::Text("@a int".into()), Value::Text("SELECT @a".into())];
        let Meaning::Tell(handle) = prepared.meaning(call("sp_prepare", statement.clone())) else { panic!() };
        assert_eq!(handle.value, Value::Int(1));
        let run = call("sp_execute", vec![Value::Int(1), Value::Int(7)]);
        match prepared.meaning(run.clone()) {
            Meaning::Ask { request, tell: None } => assert_eq!(names(&request), ["@stmt", "@params", "@a"]),
            other => panic!("{other:?}"),
        }
        assert_eq!(prepared.meaning(call("sp_unprepare", vec![Value::Int(1)])), Meaning::Nothing);
        assert!(matches!(prepared.meaning(run), Meaning::Refused(message) if message.number == 8179));
        assert!(
            matches!(prepared.meaning(call("sp_prepexec", statement)), Meaning::Ask { tell: Some(handle), .. } if handle.value == Value::Int(2))
        );
    }

    #[test]
    fn cursors_are_refused_and_other_procedures_go_to_the_engine() {
        let mut prepared = Prepared::default();
        assert!(
            matches!(prepared.meaning(call("sp_cursoropen", vec![])), Meaning::Refused(message) if message.number == 2812)
        );
        assert!(matches!(prepared.meaning(call("sp_who2", vec![])), Meaning::Ask { .. }));
    }
}
