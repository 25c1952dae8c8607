//! A strict YAML tree that knows where everything stands.
//!
//! Apart because every message about a file needs a line and a column, which typed decoding loses. It takes the part of YAML
//! that cannot be misread: one document, no anchors, aliases or tags, no key twice, `yes`, `no`, `on`, `off` and `0640` are text.
//! It must never grow with anything but the file, whose size, depth and number of values are bounded.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Number, Value};

use crate::diagnostic::{Diagnostic, code, settle};

mod fault;

/// Largest file.
pub const FILE_BYTES_MAX: usize = 512 * 1024;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;
/// Most values in one file.
pub const NODES_MAX: usize = 20_000;

/// Where something stands: from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: Position,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<Entry>),
}

/// One value of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    pub node: Node,
}

/// A value that is neither a list nor a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// As it is written, without quotes.
    pub raw: String,
    /// Without quotes in the file.
    pub plain: bool,
    /// What it means: null, true or false, a number, or text.
    pub value: Value,
}

impl Scalar {
    /// Plain `yes`, `no`, `on`, `off`: text here, true or false to other readers of YAML.
    pub fn is_ambiguous(&self) -> bool {
        self.plain && matches!(self.raw.to_ascii_lowercase().as_str(), "yes" | "no" | "on" | "off" | "y" | "n")
    }
}

impl Node {
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::List(_) | Content::Map(_) => None,
        }
    }
    /// Text, quoted or not.
    pub fn text(&self) -> Option<&str> {
        self.scalar().and_then(|scalar| scalar.value.as_str())
    }
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.value.is_null())
    }
    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Scalar(_) | Content::List(_) => &[],
        }
    }
    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            Content::Scalar(_) | Content::Map(_) => &[],
        }
    }
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }
    /// The tree without positions.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(scalar) => scalar.value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }
}

/// Reads one document. Every duplicate key, anchor and tag is told; a fault of the syntax ends the reading.
pub fn parse(file: &str, text: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut builder = Builder { file, open: Vec::new(), root: None, nodes: 0, faults: Vec::new() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is {} KiB large", text.len() / 1024);
        let start = Position { line: 1, column: 1 };
        builder.fault(start, code::LIMIT, message, format!("at most {} KiB", FILE_BYTES_MAX / 1024));
        return Err(builder.faults);
    }
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                builder.faults.push(fault::explain(file, text, &error));
                break;
            }
        };
        if builder.take(event, span).is_break() {
            break;
        }
    }
    if builder.faults.is_empty() {
        if let Some(root) = builder.root.take() {
            return Ok(root);
        }
        let start = Position { line: 1, column: 1 };
        builder.fault(
            start,
            code::NO_KIND,
            "the file is empty",
            "a group begins with group: NAME, a runbook with runbook: NAME",
        );
    }
    Err(settle(builder.faults))
}

/// A list or mapping whose end has not come yet.
struct Open {
    at: Position,
    content: Content,
    /// The mapping's key whose value comes next.
    key: Option<(String, Position)>,
    /// The values of keys that stand twice go nowhere.
    dropped: bool,
}

struct Builder<'a> {
    file: &'a str,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    faults: Vec<Diagnostic>,
}

type Flow = std::ops::ControlFlow<()>;

impl Builder<'_> {
    fn fault(&mut self, at: Position, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(Diagnostic {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            code,
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Flow {
        let at = position(&span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                if self.root.is_some() {
                    let remedy = "one file holds one group or one runbook; put the second into a file of its own";
                    self.fault(at, code::YAML, "a second document begins with ---", remedy);
                    return Flow::Break(());
                }
            }
            Event::Alias(_) => {
                self.fault(
                    at,
                    code::YAML,
                    "an alias (*name) stands here",
                    "write the value out; aliases are not taken",
                );
                self.place(Node { at, content: Content::Scalar(null()) });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_only(at, anchor, tag.is_some());
                let scalar = scalar(text.into_owned(), style == ScalarStyle::Plain);
                if self.nodes >= NODES_MAX {
                    self.fault(at, code::LIMIT, format!("more than {NODES_MAX} values stand in this file"), "split it");
                    return Flow::Break(());
                }
                self.place(Node { at, content: Content::Scalar(scalar) });
            }
            Event::SequenceStart(anchor, tag) => {
                return self.begin(at, anchor, tag.is_some(), Content::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => return self.begin(at, anchor, tag.is_some(), Content::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.place(Node { at: open.at, content: open.content });
                }
            }
        }
        Flow::Continue(())
    }

    fn plain_only(&mut self, at: Position, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.fault(
                at,
                code::YAML,
                "an anchor (&name) stands here",
                "take it out; a text that begins with & goes in quotes",
            );
        }
        if tagged {
            self.fault(
                at,
                code::YAML,
                "a tag (!name) stands here",
                "take it out; a text that begins with ! goes in quotes",
            );
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, tagged: bool, content: Content) -> Flow {
        self.plain_only(at, anchor, tagged);
        if self.open.len() >= DEPTH_MAX {
            self.fault(at, code::LIMIT, format!("values are nested deeper than {DEPTH_MAX}"), "no file needs that");
            return Flow::Break(());
        }
        self.open.push(Open { at, content, key: None, dropped: false });
        Flow::Continue(())
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node) {
        self.nodes += 1;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut open.content, open.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(entries), Some((key, at))) => {
                // the first stays; the second was told when its key came
                if !std::mem::take(&mut open.dropped) {
                    entries.push(Entry { key, at, node });
                }
            }
            (Content::Map(entries), None) => {
                let at = node.at;
                let key = match &node.content {
                    Content::Scalar(scalar) => Some(scalar.raw.clone()),
                    Content::List(_) | Content::Map(_) => None,
                };
                let before =
                    key.as_ref().and_then(|key| entries.iter().find(|entry| entry.key == *key)).map(|entry| entry.at);
                open.dropped = before.is_some();
                open.key = Some((key.clone().unwrap_or_default(), at));
                if let Some(before) = before {
                    let message = format!("{:?} stands here for the second time", key.unwrap_or_default());
                    self.fault(
                        at,
                        code::DUPLICATE_KEY,
                        message,
                        format!("the first is in line {}; keep one", before.line),
                    );
                } else if key.is_none() {
                    let remedy = "a variable is written \"${vars.name}\", in quotes; text that begins with { or [ goes in quotes";
                    self.fault(at, code::YAML, "a list or mapping stands where a key or a value is expected", remedy);
                }
            }
            (Content::Scalar(_), _) => unreachable!("only lists and mappings are opened"),
        }
    }
}

fn position(span: &Span) -> Position {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(span.start.line().max(1)), column: number(span.start.col() + 1) }
}

fn null() -> Scalar {
    Scalar { raw: String::new(), plain: true, value: Value::Null }
}

/// What a scalar means. Numbers are decimal; one with a leading zero is text, since readers of YAML disagree about it.
fn scalar(raw: String, plain: bool) -> Scalar {
    let value = if plain { meaning(&raw) } else { Value::String(raw.clone()) };
    Scalar { raw, plain, value }
}

fn meaning(raw: &str) -> Value {
    match raw {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = raw.strip_prefix(['-', '+']).unwrap_or(raw);
    let begins_with_digit = digits.starts_with(|c: char| c.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if begins_with_digit && !leading_zero {
        let unsigned = raw.strip_prefix('+').unwrap_or(raw);
        if let Ok(number) = unsigned.parse::<i64>() {
            return Value::from(number);
        }
        if let Ok(number) = unsigned.parse::<u64>() {
            return Value::from(number);
        }
        let float = digits.contains('.') || digits.contains(['e', 'E']);
        if float && let Some(number) = unsigned.parse::<f64>().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(raw.to_owned())
}
