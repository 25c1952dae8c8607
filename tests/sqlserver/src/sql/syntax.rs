//! What the grammar knows: statements and expressions as data.
//!
//! Apart from the parser that makes them and the code that runs them. There must be nothing in here that nobody evaluates: what
//! cannot be evaluated cannot be parsed.

use crate::answer::{Type, Value};
use crate::world::configure::{GroupOption, ReplicaOption};
use crate::world::database::RecoveryModel;
use crate::world::log::TableColumn;

#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub what: What,
    pub line: i32,
    /// As it was written, for faults and for the statement log.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Select(Query),
    Insert(Insert),
    Update {
        table: Vec<String>,
        assignments: Vec<(String, Expression)>,
        filter: Option<Expression>,
    },
    Delete {
        table: Vec<String>,
        filter: Option<Expression>,
    },
    CreateTable {
        table: Vec<String>,
        columns: Vec<TableColumn>,
    },
    DropTable {
        table: Vec<String>,
        if_exists: bool,
    },
    TruncateTable {
        table: Vec<String>,
    },
    CreateDatabase(String),
    DropDatabase {
        names: Vec<String>,
        if_exists: bool,
    },
    Use(String),
    /// `SET NOCOUNT ON` and the like: name and value.
    SetOption {
        name: String,
        value: String,
    },
    Declare(Vec<(String, Type, Option<Expression>)>),
    Assign {
        variable: String,
        value: Expression,
    },
    Print(Expression),
    Raise {
        message: Expression,
        severity: Expression,
        state: Expression,
        values: Vec<Expression>,
    },
    Throw(Option<(Expression, Expression, Expression)>),
    WaitFor {
        ms: i64,
    },
    If {
        condition: Expression,
        then: Box<Statement>,
        otherwise: Option<Box<Statement>>,
    },
    While {
        condition: Expression,
        body: Box<Statement>,
    },
    Block(Vec<Statement>),
    Try {
        body: Vec<Statement>,
        catch: Vec<Statement>,
    },
    BeginTransaction,
    Commit,
    Rollback,
    SaveTransaction,
    Kill {
        spid: i64,
        status_only: bool,
    },
    Execute(Execute),
    Checkpoint,
    Return,
    AlterGroup {
        group: String,
        action: GroupAction,
    },
    DropGroup(String),
    AlterDatabase {
        database: String,
        action: DatabaseAction,
    },
    Backup(Backup),
    Restore(Restore),
    CreateLogin {
        name: String,
        password: String,
    },
    DropLogin(String),
    /// Endpoints are not modelled beyond their existence.
    AlterEndpoint {
        started: bool,
    },
    Empty,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    pub table: Vec<String>,
    pub columns: Vec<String>,
    pub source: InsertSource,
}

#[derive(Debug, Clone, PartialEq)]
pub enum InsertSource {
    Rows(Vec<Vec<Expression>>),
    Query(Box<Query>),
    Defaults,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Execute {
    pub into: Option<String>,
    pub procedure: Vec<String>,
    pub arguments: Vec<Argument>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// With its `@`; empty where positional.
    pub name: String,
    pub value: Expression,
    pub output: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum GroupAction {
    FailOver,
    Force,
    RoleSecondary,
    Offline,
    Modify {
        replica: String,
        options: Vec<ReplicaOption>,
    },
    Set(Vec<GroupOption>),
    /// Renewed by agents of an external cluster; nothing to see here.
    WriteLease,
    AddDatabases(Vec<String>),
    RemoveDatabases(Vec<String>),
    RemoveReplica(String),
    Join,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DatabaseAction {
    Suspend,
    Resume,
    Join(String),
    Leave,
    Access {
        access: crate::world::database::Access,
        rollback: bool,
    },
    Recovery(RecoveryModel),
    ReadOnly(bool),
    Online(bool),
    /// Options that change nothing here: PAGE_VERIFY and the like.
    Harmless,
    Rename(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    pub database: Name,
    pub log: bool,
    pub device: Expression,
    pub copy_only: bool,
    pub differential: bool,
    pub no_recovery: bool,
    pub standby: Option<String>,
    pub no_truncate: bool,
    pub init: bool,
    pub stats: bool,
    pub name: Option<String>,
}

/// A name, or a variable that holds one.
#[derive(Debug, Clone, PartialEq)]
pub enum Name {
    Plain(String),
    Variable(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Restore {
    pub what: RestoreWhat,
    pub database: Option<Name>,
    pub device: Option<Expression>,
    pub file: Option<i64>,
    pub recovery: RestoreEnd,
    pub replace: bool,
    pub stats: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreWhat {
    Database,
    Log,
    HeaderOnly,
    FileListOnly,
    VerifyOnly,
    LabelOnly,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RestoreEnd {
    Recovery,
    NoRecovery,
    Standby(Expression),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub body: Body,
    pub order: Vec<(Expression, bool)>,
    pub offset: Option<Expression>,
    pub fetch: Option<Expression>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Select(Box<Select>),
    Union { left: Box<Body>, right: Box<Body>, all: bool },
    Nested(Box<Query>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    pub distinct: bool,
    pub top: Option<Expression>,
    pub items: Vec<Item>,
    pub from: Option<Source>,
    pub filter: Option<Expression>,
    pub group: Vec<Expression>,
    pub having: Option<Expression>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    All(Option<String>),
    Expression { value: Expression, alias: Option<String> },
    Assign { variable: String, value: Expression },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Object { name: Vec<String>, arguments: Option<Vec<Expression>>, alias: Option<String> },
    Derived { query: Box<Query>, alias: String, columns: Vec<String> },
    Values { rows: Vec<Vec<Expression>>, alias: String, columns: Vec<String> },
    Join { kind: Join, left: Box<Source>, right: Box<Source>, on: Option<Expression> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    Inner,
    Left,
    Right,
    Full,
    Cross,
    /// The right side sees the left one's row.
    CrossApply,
    OuterApply,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Literal(Value, Type),
    Column {
        table: Option<String>,
        name: String,
    },
    Variable(String),
    Global(String),
    Negate(Box<Expression>),
    Not(Box<Expression>),
    Binary {
        sign: Sign,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    IsNull {
        value: Box<Expression>,
        negated: bool,
    },
    In {
        value: Box<Expression>,
        list: Vec<Expression>,
        negated: bool,
    },
    InQuery {
        value: Box<Expression>,
        query: Box<Query>,
        negated: bool,
    },
    Between {
        value: Box<Expression>,
        low: Box<Expression>,
        high: Box<Expression>,
        negated: bool,
    },
    Like {
        value: Box<Expression>,
        pattern: Box<Expression>,
        escape: Option<char>,
        negated: bool,
    },
    Case {
        operand: Option<Box<Expression>>,
        whens: Vec<(Expression, Expression)>,
        otherwise: Option<Box<Expression>>,
    },
    Cast {
        value: Box<Expression>,
        kind: Type,
        try_only: bool,
        style: Option<Box<Expression>>,
    },
    Call {
        name: Vec<String>,
        arguments: Vec<Expression>,
        distinct: bool,
    },
    /// `COUNT(*)`.
    CountAll,
    /// `OVER (PARTITION BY … ORDER BY …)` with ROW_NUMBER only.
    RowNumber {
        partition: Vec<Expression>,
        order: Vec<(Expression, bool)>,
    },
    Exists(Box<Query>),
    Scalar(Box<Query>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    BitAnd,
    BitOr,
    And,
    Or,
}
