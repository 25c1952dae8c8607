//! The one expression language: CEL, over `group`, `old`, `new`, `host`, `input`, `vars`, `facts`, `item` and what steps registered.
//!
//! Apart because planner, engine and agent must evaluate alike. Deterministic: no clock, no randomness, maps are walked in
//! the order of their keys. Bounded: the text, its nesting and its result each have a limit. It must never evaluate a value:
//! what came out of an expression is data, whatever it looks like.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use cel::{
    Context, IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr},
};
use serde_json::Value;

mod explain;
mod template;
mod value;

pub(crate) use explain::RESERVED;
pub use template::{Rendered, Template, escape, render};

/// What an expression can see: root variables by name.
pub type Scope = BTreeMap<String, Value>;

/// Longest expression; a longer one belongs into a step's `register` or a group's variable.
pub const EXPRESSION_BYTES_MAX: usize = 2048;
/// Deepest nesting of brackets, and of `? :`. CEL's parser takes about 170 KiB of stack for each in a debug build, and threads have 2 MiB.
const DEPTH_MAX: u16 = 6;
/// Most operators and fields. CEL's parser recurses for each of a chain: 900 overflowed the 2 MiB stack of a thread.
const LINKS_MAX: usize = 96;
/// Deepest tree: bounds the interpreter's stack.
const TREE_MAX: usize = 24;
/// Nested `map`, `filter`, `all`, `exists`: bounds the time to the square of a list's length.
const LOOPS_MAX: usize = 2;
/// Largest result, as JSON.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;
/// Wraps every range of a loop, so that maps are walked in the order of their keys.
const ORDERED: &str = "__ordered";

/// Why an expression was not understood or has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// The text is not an expression.
    #[error("{expression:?} is not an expression: {reason}")]
    Syntax { expression: String, reason: String },
    /// A variable or field is not there. `there` lists what is.
    #[error("{expression:?}: there is no {missing}; {there}")]
    Missing { expression: String, missing: String, there: String },
    /// The expression has no value over this scope.
    #[error("{expression:?}: {reason}")]
    Evaluation { expression: String, reason: String },
}

/// A parsed expression.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
    tree: IdedExpr,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Expression {
    /// Parses the text between `${` and `}`, or of `when`, `expect`, `for`.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        let source = source.trim();
        let wrong = |reason: &str| ExpressionError::Syntax { expression: shortened(source), reason: reason.to_owned() };
        if source.is_empty() {
            return Err(wrong("it is empty"));
        }
        if source.len() > EXPRESSION_BYTES_MAX {
            return Err(wrong(&format!("it is {} bytes long; at most {EXPRESSION_BYTES_MAX}", source.len())));
        }
        if nesting(source) > usize::from(DEPTH_MAX) {
            return Err(wrong(&format!("brackets are nested deeper than {DEPTH_MAX}")));
        }
        if links(source) > LINKS_MAX {
            return Err(wrong(&format!("it holds more than {LINKS_MAX} operators and fields")));
        }
        let mut tree = cel::parser::Parser::new()
            .max_recursion_depth(DEPTH_MAX + 2)
            .parse(source)
            .map_err(|errors| wrong(&explain::syntax(source, &errors)))?;
        // `a + a + a …` nests without a bracket, and the interpreter recurses
        if height(&tree) > TREE_MAX {
            return Err(wrong(&format!("it chains more than {TREE_MAX} operators or fields")));
        }
        if let Some(unknown) = unknown_function(&tree) {
            return Err(wrong(&unknown));
        }
        if order_loops(&mut tree) > LOOPS_MAX {
            return Err(wrong(&format!("map, filter, all and exists are nested deeper than {LOOPS_MAX}")));
        }
        Ok(Self { source: source.to_owned(), tree })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// The root variables it reads: `vars` for `vars.port + 1`. Names bound by `map`, `filter` and their like are not among them.
    pub fn references(&self) -> BTreeSet<String> {
        self.paths().into_iter().filter_map(|path| path.into_iter().next()).collect()
    }

    /// The paths it reads, as far as they are plain: `["vars", "port"]` for `vars.port + 1`.
    pub fn paths(&self) -> BTreeSet<Vec<String>> {
        let mut paths = BTreeSet::new();
        collect_paths(&self.tree, &mut Vec::new(), &mut |path, _| {
            paths.insert(path);
        });
        paths
    }

    /// Like [`Expression::paths`], without those whose absence is asked for: by `has(…)` or `'key' in map`.
    pub fn required_paths(&self) -> BTreeSet<Vec<String>> {
        let mut tested = BTreeSet::new();
        let mut read = BTreeSet::new();
        collect_paths(&self.tree, &mut Vec::new(), &mut |path, test| {
            if test {
                tested.insert(path)
            } else {
                read.insert(path)
            };
        });
        read.retain(|path| !tested.iter().any(|tested| path.starts_with(tested)));
        read
    }

    /// The name, if this is `secret('name')` and nothing else.
    pub fn secret(&self) -> Option<&str> {
        let Expr::Call(call) = &self.tree.expr else { return None };
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            ("secret", None, [argument]) => match &argument.expr {
                Expr::Literal(cel::common::ast::LiteralValue::String(name)) => Some(name.inner()),
                _ => None,
            },
            _ => None,
        }
    }

    /// `secret(…)` occurs in it.
    pub fn mentions_secret(&self) -> bool {
        self.tree.references().has_function("secret")
    }

    /// Its value over `scope`. Integers stay integers.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        if self.mentions_secret() {
            return Err(self.fails("a secret is never evaluated; it can only stand alone in ${secret('name')}"));
        }
        let mut context = Context::default();
        context.add_function(ORDERED, value::ordered).expect("no overload of CEL has this name");
        for name in self.references() {
            match scope.get(&name) {
                Some(found) => context.add_variable_from_value(name, value::from_json(found)),
                None => return Err(explain::missing_root(&self.source, &name, scope)),
            }
        }
        let result = cel::Value::resolve(&self.tree, &context)
            .map_err(|error| explain::evaluation(&self.source, &self.paths(), scope, &error))?;
        let mut room = RESULT_BYTES_MAX;
        value::to_json(&result, &mut room).map_err(|reason| self.fails(&reason))
    }

    /// Its value, which must be true or false.
    pub fn holds(&self, scope: &Scope) -> Result<bool, ExpressionError> {
        match self.evaluate(scope)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(self.fails(&format!("is {}; a condition must be true or false", explain::kind(&other)))),
        }
    }

    fn fails(&self, reason: &str) -> ExpressionError {
        ExpressionError::Evaluation { expression: shortened(&self.source), reason: reason.to_owned() }
    }
}

/// Enough of an expression to know it again.
fn shortened(source: &str) -> String {
    match source.char_indices().nth(120) {
        None => source.to_owned(),
        Some((end, _)) => format!("{}…", &source[..end]),
    }
}

/// An upper bound of the nesting, before the parser recurses into it.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut run = 0usize;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // a row of `!` or `-` nests too
        run = if matches!(byte, b'!' | b'-') { run + 1 } else { 0 };
        deepest = deepest.max(depth + run);
    }
    deepest
}

/// Functions of CEL that a runbook may call; operators begin with `_`, `!`, `-` or `@`.
const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "type",
    "dyn",
    "min",
    "max",
    "secret",
    ORDERED,
];

fn unknown_function(tree: &IdedExpr) -> Option<String> {
    let references = tree.references();
    let mut names: Vec<_> = references.functions();
    names.sort_unstable();
    let name = names.into_iter().find(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && is_word(name) && !FUNCTIONS.contains(name)
    })?;
    let known = FUNCTIONS
        .iter()
        .copied()
        .filter(|name| !matches!(*name, ORDERED | "secret"))
        .chain(["has", "all", "exists", "map", "filter"]);
    Some(format!("there is no function {name}(); there are {}", known.collect::<Vec<_>>().join(", ")))
}

/// Operators are `_+_`, `_[_]`, `_?_:_`, `!_`, `-_`, `@in`: none is a word.
fn is_word(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().any(|c| c.is_ascii_alphabetic())
}

/// An upper bound of operators and fields. Those inside strings count too: where a string ends is the parser's to say.
fn links(source: &str) -> usize {
    let operator = |c: char| c.is_ascii_punctuation() && !matches!(c, '_' | '\'' | '"' | '\\' | ')' | ']' | '}');
    let mut before = ' ';
    let mut count = 0;
    for c in source.chars() {
        // && || == != <= >= are one each
        let second = matches!((before, c), ('&', '&') | ('|', '|') | ('=' | '!' | '<' | '>', '='));
        count += usize::from(operator(c) && !second);
        before = if second { ' ' } else { c };
    }
    count
}

/// How deep the tree is, found without recursion.
fn height(tree: &IdedExpr) -> usize {
    let mut open = vec![(tree, 1)];
    let mut highest = 0;
    while let Some((tree, depth)) = open.pop() {
        highest = highest.max(depth);
        let mut push = |inner| open.push((inner, depth + 1));
        let entries = match &tree.expr {
            Expr::Map(map) => &map.entries[..],
            Expr::Struct(made) => &made.entries[..],
            _ => &[],
        };
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => push(&field.value),
                EntryExpr::MapEntry(entry) => {
                    push(&entry.key);
                    push(&entry.value);
                }
            }
        }
        match &tree.expr {
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(push),
            Expr::List(list) => list.elements.iter().for_each(push),
            Expr::Select(select) => push(&select.operand),
            Expr::Comprehension(loops) => {
                [&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result]
                    .into_iter()
                    .for_each(push);
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }
    highest
}

/// Wraps every loop's range in [`ORDERED`] and tells how deep loops are nested.
fn order_loops(tree: &mut IdedExpr) -> usize {
    match &mut tree.expr {
        Expr::Comprehension(comprehension) => {
            let range = order_loops(&mut comprehension.iter_range);
            let id = comprehension.iter_range.id;
            let inner = std::mem::take(&mut comprehension.iter_range);
            comprehension.iter_range = IdedExpr {
                id,
                expr: Expr::Call(CallExpr { func_name: ORDERED.to_owned(), target: None, args: vec![inner] }),
            };
            let body = [
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ];
            1 + body.into_iter().map(order_loops).max().unwrap_or(0).max(range)
        }
        Expr::Call(call) => {
            let target = call.target.as_mut().map_or(0, |target| order_loops(target));
            call.args.iter_mut().map(order_loops).max().unwrap_or(0).max(target)
        }
        Expr::List(list) => list.elements.iter_mut().map(order_loops).max().unwrap_or(0),
        Expr::Select(select) => order_loops(&mut select.operand),
        Expr::Map(map) => map.entries.iter_mut().map(|entry| order_entry(&mut entry.expr)).max().unwrap_or(0),
        Expr::Struct(made) => made.entries.iter_mut().map(|entry| order_entry(&mut entry.expr)).max().unwrap_or(0),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
    }
}

fn order_entry(entry: &mut EntryExpr) -> usize {
    match entry {
        EntryExpr::StructField(field) => order_loops(&mut field.value),
        EntryExpr::MapEntry(entry) => order_loops(&mut entry.key).max(order_loops(&mut entry.value)),
    }
}

/// Tells `seen` every path that is read, and whether only its presence is asked for. `bound` are the loops' own variables.
fn collect_paths(tree: &IdedExpr, bound: &mut Vec<String>, seen: &mut impl FnMut(Vec<String>, bool)) {
    if let Some((path, test)) = plain_path(tree) {
        if !path[0].starts_with('@') && !bound.contains(&path[0]) {
            seen(path, test);
        }
        return;
    }
    match &tree.expr {
        Expr::Comprehension(comprehension) => {
            collect_paths(&comprehension.iter_range, bound, seen);
            collect_paths(&comprehension.accu_init, bound, seen);
            let outer = bound.len();
            bound.push(comprehension.iter_var.clone());
            bound.extend(comprehension.iter_var2.clone());
            bound.push(comprehension.accu_var.clone());
            for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
                collect_paths(part, bound, seen);
            }
            bound.truncate(outer);
        }
        Expr::Call(call) => {
            // `'key' in a.b` asks whether a.b.key is there
            if let ("@in", [key, map]) = (call.func_name.as_str(), call.args.as_slice())
                && let (Some(key), Some((mut path, _))) = (literal_text(key), plain_path(map))
                && !bound.contains(&path[0])
            {
                path.push(key);
                seen(path, true);
            }
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                collect_paths(part, bound, seen);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|element| collect_paths(element, bound, seen)),
        Expr::Select(select) => collect_paths(&select.operand, bound, seen),
        Expr::Map(map) => map.entries.iter().for_each(|entry| collect_entry(&entry.expr, bound, seen)),
        Expr::Struct(made) => made.entries.iter().for_each(|entry| collect_entry(&entry.expr, bound, seen)),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn collect_entry(entry: &EntryExpr, bound: &mut Vec<String>, seen: &mut impl FnMut(Vec<String>, bool)) {
    match entry {
        EntryExpr::StructField(field) => collect_paths(&field.value, bound, seen),
        EntryExpr::MapEntry(entry) => {
            collect_paths(&entry.key, bound, seen);
            collect_paths(&entry.value, bound, seen);
        }
    }
}

/// `a.b['c']` as its segments, and whether it stands in `has(…)`.
fn plain_path(tree: &IdedExpr) -> Option<(Vec<String>, bool)> {
    match &tree.expr {
        Expr::Ident(name) => Some((vec![name.clone()], false)),
        Expr::Select(select) => {
            let (mut path, _) = plain_path(&select.operand)?;
            path.push(select.field.clone());
            Some((path, select.test))
        }
        Expr::Call(call) if call.func_name == "_[_]" => match call.args.as_slice() {
            [map, key] => {
                let (mut path, _) = plain_path(map)?;
                path.push(literal_text(key)?);
                Some((path, false))
            }
            _ => None,
        },
        _ => None,
    }
}

fn literal_text(tree: &IdedExpr) -> Option<String> {
    match &tree.expr {
        Expr::Literal(cel::common::ast::LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
