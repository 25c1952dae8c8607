//! Statements of programs: DML, variables, flow, transactions.

use super::Parser;
use crate::answer::{Type, Value};
use crate::sql::syntax::{Argument, Execute, Expression, Insert, InsertSource, Statement, What};
use crate::sql::token::Kind;
use crate::world::SqlError;

const BEGINNINGS: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "create",
    "drop",
    "alter",
    "use",
    "set",
    "declare",
    "print",
    "raiserror",
    "throw",
    "waitfor",
    "if",
    "while",
    "begin",
    "commit",
    "rollback",
    "save",
    "kill",
    "exec",
    "execute",
    "backup",
    "restore",
    "checkpoint",
    "return",
    "truncate",
    "with",
    "go",
    "end",
    "else",
];

pub(super) fn begins_statement(word: &str) -> bool {
    BEGINNINGS.contains(&word.to_lowercase().as_str())
}

impl Parser<'_> {
    pub(super) fn statement(&mut self) -> Result<Statement, SqlError> {
        self.deeper(|parser| {
            let (start, line) = (parser.tokens[parser.at].start, parser.line());
            if parser.depth == 1 {
                parser.links = 0;
            }
            let what = parser.what()?;
            let end = parser.tokens[parser.at.saturating_sub(1)].end.max(start);
            while parser.takes_sign(";") {}
            Ok(Statement { what, line, text: parser.text[start..end].trim_end_matches([';', ' ']).to_owned() })
        })
    }

    /// `sp_who2` without EXEC, at the beginning of a batch.
    pub(super) fn bare_call(&mut self) -> Result<Option<Statement>, SqlError> {
        let named = match self.peek() {
            Kind::Word(word) => {
                let lower = word.to_lowercase();
                lower.starts_with("sp_")
                    || lower.starts_with("xp_")
                    || matches!(lower.as_str(), "master" | "msdb" | "sys")
            }
            _ => false,
        };
        if !named {
            return Ok(None);
        }
        let (start, line) = (self.tokens[self.at].start, self.line());
        let what = self.call(None)?;
        let end = self.tokens[self.at.saturating_sub(1)].end;
        while self.takes_sign(";") {}
        Ok(Some(Statement { what, line, text: self.text[start..end].to_owned() }))
    }

    fn what(&mut self) -> Result<What, SqlError> {
        if self.takes_sign(";") {
            return Ok(What::Empty);
        }
        let Kind::Word(word) = self.peek().clone() else {
            if self.is_sign("(") {
                return Ok(What::Select(self.query()?));
            }
            return Err(self.unexpected());
        };
        match word.to_lowercase().as_str() {
            "select" | "with" => Ok(What::Select(self.query()?)),
            "insert" => self.insert(),
            "update" => self.update(),
            "delete" => self.delete(),
            "create" => self.create(),
            "drop" => self.drop(),
            "truncate" => {
                self.at += 1;
                self.expect("TABLE")?;
                Ok(What::TruncateTable { table: self.dotted()? })
            }
            "use" => {
                self.at += 1;
                Ok(What::Use(self.name()?))
            }
            "set" => self.set(),
            "declare" => self.declare(),
            "print" => {
                self.at += 1;
                Ok(What::Print(self.expression()?))
            }
            "raiserror" => self.raise(),
            "throw" => self.throw(),
            "waitfor" => self.wait(),
            "if" => {
                self.at += 1;
                let condition = self.expression()?;
                let then = Box::new(self.statement()?);
                let otherwise = if self.takes("ELSE") { Some(Box::new(self.statement()?)) } else { None };
                Ok(What::If { condition, then, otherwise })
            }
            "while" => {
                self.at += 1;
                let condition = self.expression()?;
                Ok(What::While { condition, body: Box::new(self.statement()?) })
            }
            "begin" => self.begin(),
            "commit" => {
                self.at += 1;
                self.transaction_name();
                Ok(What::Commit)
            }
            "rollback" => {
                self.at += 1;
                self.transaction_name();
                Ok(What::Rollback)
            }
            "save" => {
                self.at += 1;
                self.transaction_name();
                Ok(What::SaveTransaction)
            }
            "kill" => self.kill(),
            "exec" | "execute" => {
                self.at += 1;
                let into = match self.peek().clone() {
                    Kind::Variable(name) if matches!(self.peek_at(1), Kind::Sign("=")) => {
                        self.at += 2;
                        Some(name)
                    }
                    _ => None,
                };
                self.call(into)
            }
            "checkpoint" => {
                self.at += 1;
                Ok(What::Checkpoint)
            }
            "return" => {
                self.at += 1;
                if matches!(self.peek(), Kind::Number(_)) {
                    self.at += 1;
                }
                Ok(What::Return)
            }
            "alter" => self.alter(),
            "backup" => self.backup(),
            "restore" => self.restore(),
            _ => Err(self.unexpected()),
        }
    }

    fn transaction_name(&mut self) {
        if self.takes("TRAN") || self.takes("TRANSACTION") || self.takes("WORK") {
            let named = match self.peek() {
                Kind::Word(word) => !begins_statement(word),
                Kind::Quoted(_) | Kind::Variable(_) => true,
                _ => false,
            };
            if named {
                self.at += 1;
            }
        }
    }

    fn begin(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        if self.is_any(&["TRAN", "TRANSACTION"]) {
            self.transaction_name();
            return Ok(What::BeginTransaction);
        }
        if self.takes("TRY") {
            let body = self.statements()?;
            self.expect("END")?;
            self.expect("TRY")?;
            while self.takes_sign(";") {}
            self.expect("BEGIN")?;
            self.expect("CATCH")?;
            let catch = self.statements()?;
            self.expect("END")?;
            self.expect("CATCH")?;
            return Ok(What::Try { body, catch });
        }
        let body = self.statements()?;
        self.expect("END")?;
        Ok(What::Block(body))
    }

    fn statements(&mut self) -> Result<Vec<Statement>, SqlError> {
        let mut all = Vec::new();
        while !self.is_word("END") && !self.is_end() {
            let one = self.statement()?;
            if one.what != What::Empty {
                all.push(one);
            }
        }
        Ok(all)
    }

    fn insert(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        self.takes("INTO");
        let table = self.dotted()?;
        let mut columns = Vec::new();
        if self.is_sign("(") && !matches!(self.peek_at(1), Kind::Word(word) if word.eq_ignore_ascii_case("select")) {
            self.at += 1;
            columns = self.list(Parser::name)?;
            self.expect_sign(")")?;
        }
        let source = if self.takes("VALUES") {
            InsertSource::Rows(self.list(Parser::value_row)?)
        } else if self.takes_all(&["DEFAULT", "VALUES"]) {
            InsertSource::Defaults
        } else {
            InsertSource::Query(Box::new(self.query()?))
        };
        Ok(What::Insert(Insert { table, columns, source }))
    }

    fn update(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        let table = self.dotted()?;
        self.expect("SET")?;
        let assignments = self.list(|parser| {
            let column = parser.dotted()?.pop().unwrap_or_default();
            let operation =
                ["=", "+=", "-="].into_iter().find(|sign| parser.is_sign(sign)).ok_or_else(|| parser.unexpected())?;
            parser.at += 1;
            let value = parser.expression()?;
            let own = || Box::new(Expression::Column { table: None, name: column.clone() });
            let value = match operation {
                "+=" => Expression::Binary { sign: crate::sql::syntax::Sign::Add, left: own(), right: Box::new(value) },
                "-=" => {
                    Expression::Binary { sign: crate::sql::syntax::Sign::Subtract, left: own(), right: Box::new(value) }
                }
                _ => value,
            };
            Ok((column, value))
        })?;
        let filter = if self.takes("WHERE") { Some(self.expression()?) } else { None };
        Ok(What::Update { table, assignments, filter })
    }

    fn delete(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        self.takes("FROM");
        let table = self.dotted()?;
        let filter = if self.takes("WHERE") { Some(self.expression()?) } else { None };
        Ok(What::Delete { table, filter })
    }

    fn set(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        if let Kind::Variable(variable) = self.peek().clone() {
            self.at += 1;
            self.expect_sign("=")?;
            return Ok(What::Assign { variable, value: self.expression()? });
        }
        if self.takes_all(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
            let mut words = vec![self.name()?];
            while self.is_any(&["COMMITTED", "UNCOMMITTED", "READ"]) {
                words.push(self.name()?);
            }
            return Ok(What::SetOption {
                name: "TRANSACTION ISOLATION LEVEL".into(),
                value: words.join(" ").to_uppercase(),
            });
        }
        let mut names = vec![self.name()?.to_uppercase()];
        // `SET ANSI_NULLS, QUOTED_IDENTIFIER ON`.
        while self.takes_sign(",") {
            names.push(self.name()?.to_uppercase());
        }
        if names[0] == "STATISTICS" || names[0] == "IDENTITY_INSERT" {
            names.push(self.dotted()?.join("."));
        }
        let value = match self.next() {
            Kind::Word(word) | Kind::Quoted(word) | Kind::Number(word) => word,
            Kind::Text { value, .. } => value,
            Kind::Sign("-") => format!("-{}", self.integer()?),
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        };
        Ok(What::SetOption { name: names.join(","), value: value.to_uppercase() })
    }

    fn declare(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        let all = self.list(|parser| {
            let Kind::Variable(name) = parser.next() else {
                parser.at -= 1;
                return Err(parser.unexpected());
            };
            parser.takes("AS");
            let kind = parser.type_name()?;
            let value = if parser.takes_sign("=") { Some(parser.expression()?) } else { None };
            Ok((name, kind, value))
        })?;
        Ok(What::Declare(all))
    }

    fn raise(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        self.expect_sign("(")?;
        let mut values = self.list(Parser::expression)?.into_iter();
        self.expect_sign(")")?;
        if self.takes("WITH") {
            self.list(Parser::name)?;
        }
        match (values.next(), values.next(), values.next()) {
            (Some(message), Some(severity), Some(state)) => {
                Ok(What::Raise { message, severity, state, values: values.collect() })
            }
            _ => Err(self.unexpected()),
        }
    }

    fn throw(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        if matches!(self.peek(), Kind::Number(_) | Kind::Variable(_)) {
            let number = self.expression()?;
            self.expect_sign(",")?;
            let message = self.expression()?;
            self.expect_sign(",")?;
            return Ok(What::Throw(Some((number, message, self.expression()?))));
        }
        Ok(What::Throw(None))
    }

    fn wait(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        self.expect("DELAY")?;
        let text = self.text()?;
        let mut seconds = 0.0;
        for part in text.split(':') {
            let part: f64 = part.parse().map_err(|_| SqlError::syntax(&text))?;
            seconds = seconds * 60.0 + part;
        }
        // WAITFOR takes less than a day.
        Ok(What::WaitFor { ms: (seconds.clamp(0.0, 86_400.0) * 1000.0) as i64 })
    }

    fn kill(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        let negative = self.takes_sign("-");
        let number = self.integer()?;
        let status_only = self.takes_all(&["WITH", "STATUSONLY"]);
        Ok(What::Kill { spid: if negative { -number } else { number }, status_only })
    }

    fn call(&mut self, into: Option<String>) -> Result<What, SqlError> {
        // `EXEC (N'statement')`.
        if self.takes_sign("(") {
            let value = self.expression()?;
            self.expect_sign(")")?;
            let statement = Argument { name: "@stmt".into(), value, output: false };
            return Ok(What::Execute(Execute {
                into,
                procedure: vec!["sp_executesql".into()],
                arguments: vec![statement],
            }));
        }
        let procedure = self.dotted()?;
        let mut arguments = Vec::new();
        let more = match self.peek() {
            Kind::Sign(";") | Kind::End => false,
            Kind::Word(word) => !begins_statement(word) || word.eq_ignore_ascii_case("null"),
            Kind::Sign(sign) => *sign == "-",
            _ => true,
        };
        if more {
            arguments = self.list(Parser::argument)?;
        }
        Ok(What::Execute(Execute { into, procedure, arguments }))
    }

    fn argument(&mut self) -> Result<Argument, SqlError> {
        let mut name = String::new();
        if let Kind::Variable(found) = self.peek().clone()
            && matches!(self.peek_at(1), Kind::Sign("="))
        {
            name = found;
            self.at += 2;
        }
        // A bare word is a text: `EXEC sp_delete_log_shipping_secondary_database mgc`.
        let value = match self.peek().clone() {
            Kind::Word(word) if !word.eq_ignore_ascii_case("null") => {
                self.at += 1;
                let length = u16::try_from(word.chars().count()).unwrap_or(4000);
                Expression::Literal(Value::Text(word), Type::NVarChar { length })
            }
            Kind::Quoted(word) => {
                self.at += 1;
                let length = u16::try_from(word.chars().count()).unwrap_or(4000);
                Expression::Literal(Value::Text(word), Type::NVarChar { length })
            }
            _ => self.sum()?,
        };
        let output = self.takes("OUTPUT") || self.takes("OUT");
        Ok(Argument { name, value, output })
    }
}
