//! Expressions, by precedence.

use super::Parser;
use crate::answer::{Type, Value};
use crate::sql::syntax::{Expression, Sign};
use crate::sql::token::Kind;
use crate::world::SqlError;

/// Words that end an expression or cannot be a column.
const RESERVED: &[&str] = &[
    "from",
    "where",
    "group",
    "having",
    "order",
    "union",
    "on",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "outer",
    "as",
    "and",
    "or",
    "then",
    "else",
    "end",
    "when",
    "select",
    "insert",
    "update",
    "delete",
    "set",
    "use",
    "if",
    "begin",
    "commit",
    "rollback",
    "declare",
    "print",
    "raiserror",
    "exec",
    "execute",
    "alter",
    "create",
    "drop",
    "kill",
    "backup",
    "restore",
    "waitfor",
    "with",
    "in",
    "like",
    "between",
    "is",
    "not",
    "null",
    "into",
    "values",
    "case",
    "for",
    "option",
    "while",
    "return",
    "throw",
    "truncate",
    "save",
    "top",
    "distinct",
    "except",
    "intersect",
    "fetch",
    "offset",
    "go",
];

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word.to_lowercase().as_str())
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Result<Expression, SqlError> {
        self.deeper(|parser| parser.disjunction())
    }

    fn disjunction(&mut self) -> Result<Expression, SqlError> {
        let mut left = self.conjunction()?;
        while self.takes("OR") {
            self.link()?;
            left = binary(Sign::Or, left, self.conjunction()?);
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expression, SqlError> {
        let mut left = self.negation()?;
        while self.takes("AND") {
            self.link()?;
            left = binary(Sign::And, left, self.negation()?);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expression, SqlError> {
        if self.takes("NOT") {
            return Ok(Expression::Not(Box::new(self.deeper(Parser::negation)?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, SqlError> {
        let left = self.sum()?;
        let signs = [
            ("=", Sign::Equal),
            ("<>", Sign::Unequal),
            ("!=", Sign::Unequal),
            ("<=", Sign::LessOrEqual),
            (">=", Sign::GreaterOrEqual),
            ("!<", Sign::GreaterOrEqual),
            ("!>", Sign::LessOrEqual),
            ("<", Sign::Less),
            (">", Sign::Greater),
        ];
        if let Some((_, sign)) = signs.iter().find(|(text, _)| self.is_sign(text)) {
            self.at += 1;
            return Ok(binary(*sign, left, self.sum()?));
        }
        if self.takes("IS") {
            let negated = self.takes("NOT");
            self.expect("NULL")?;
            return Ok(Expression::IsNull { value: Box::new(left), negated });
        }
        let negated =
            self.is_word("NOT") && (1..2).any(|at| ["IN", "LIKE", "BETWEEN"].iter().any(|word| self.word_at(at, word)));
        if negated {
            self.at += 1;
        }
        let value = Box::new(left);
        if self.takes("IN") {
            self.expect_sign("(")?;
            if self.is_any(&["SELECT", "WITH"]) {
                let query = Box::new(self.query()?);
                self.expect_sign(")")?;
                return Ok(Expression::InQuery { value, query, negated });
            }
            let list = self.list(Parser::expression)?;
            self.expect_sign(")")?;
            return Ok(Expression::In { value, list, negated });
        }
        if self.takes("LIKE") {
            let pattern = Box::new(self.sum()?);
            let escape = if self.takes("ESCAPE") { self.text()?.chars().next() } else { None };
            return Ok(Expression::Like { value, pattern, escape, negated });
        }
        if self.takes("BETWEEN") {
            let low = Box::new(self.sum()?);
            self.expect("AND")?;
            let high = Box::new(self.sum()?);
            return Ok(Expression::Between { value, low, high, negated });
        }
        Ok(*value)
    }

    pub(super) fn sum(&mut self) -> Result<Expression, SqlError> {
        let mut left = self.product()?;
        loop {
            let sign = match self.peek() {
                Kind::Sign("+") => Sign::Add,
                Kind::Sign("-") => Sign::Subtract,
                Kind::Sign("&") => Sign::BitAnd,
                Kind::Sign("|") => Sign::BitOr,
                _ => return Ok(left),
            };
            self.at += 1;
            self.link()?;
            left = binary(sign, left, self.product()?);
        }
    }

    fn product(&mut self) -> Result<Expression, SqlError> {
        let mut left = self.unary()?;
        loop {
            let sign = match self.peek() {
                Kind::Sign("*") => Sign::Multiply,
                Kind::Sign("/") => Sign::Divide,
                Kind::Sign("%") => Sign::Modulo,
                _ => return Ok(left),
            };
            self.at += 1;
            self.link()?;
            left = binary(sign, left, self.unary()?);
        }
    }

    fn unary(&mut self) -> Result<Expression, SqlError> {
        if self.takes_sign("-") {
            return Ok(Expression::Negate(Box::new(self.deeper(Parser::unary)?)));
        }
        if self.takes_sign("+") {
            return self.deeper(Parser::unary);
        }
        let mut value = self.primary()?;
        // A collation changes nothing here: every text compares without regard to case.
        while self.takes("COLLATE") {
            self.link()?;
            self.name()?;
            value = Expression::Cast {
                value: Box::new(value),
                kind: Type::NVarChar { length: 4000 },
                try_only: false,
                style: None,
            };
        }
        Ok(value)
    }

    fn primary(&mut self) -> Result<Expression, SqlError> {
        match self.peek().clone() {
            Kind::Number(digits) => {
                self.at += 1;
                number(&digits).ok_or_else(|| SqlError::syntax(&digits))
            }
            Kind::Text { value, national } => {
                self.at += 1;
                let length = u16::try_from(value.chars().count().clamp(1, 4000)).unwrap_or(4000);
                let kind = if national { Type::NVarChar { length } } else { Type::VarChar { length } };
                Ok(Expression::Literal(Value::Text(value), kind))
            }
            Kind::Binary(bytes) => {
                self.at += 1;
                let length = u16::try_from(bytes.len().clamp(1, 8000)).unwrap_or(8000);
                Ok(Expression::Literal(Value::Binary(bytes), Type::VarBinary { length }))
            }
            Kind::Variable(name) => {
                self.at += 1;
                Ok(Expression::Variable(name))
            }
            Kind::Global(name) => {
                self.at += 1;
                Ok(Expression::Global(name))
            }
            Kind::Sign("(") => {
                self.at += 1;
                let inner = if self.is_any(&["SELECT", "WITH"]) {
                    Expression::Scalar(Box::new(self.query()?))
                } else {
                    self.expression()?
                };
                self.expect_sign(")")?;
                Ok(inner)
            }
            Kind::Word(word) => self.word(&word),
            Kind::Quoted(_) => self.column_or_call(),
            Kind::Sign(_) | Kind::End => Err(self.unexpected()),
        }
    }

    fn word(&mut self, word: &str) -> Result<Expression, SqlError> {
        let lower = word.to_lowercase();
        let called = matches!(self.peek_at(1), Kind::Sign("("));
        match lower.as_str() {
            "null" => {
                self.at += 1;
                Ok(Expression::Literal(Value::Null, Type::Int))
            }
            "case" => self.case(),
            "exists" if called => {
                self.at += 2;
                let query = self.query()?;
                self.expect_sign(")")?;
                Ok(Expression::Exists(Box::new(query)))
            }
            "cast" | "try_cast" if called => {
                self.at += 2;
                let value = Box::new(self.expression()?);
                self.expect("AS")?;
                let kind = self.type_name()?;
                self.expect_sign(")")?;
                Ok(Expression::Cast { value, kind, try_only: lower == "try_cast", style: None })
            }
            "convert" | "try_convert" if called => {
                self.at += 2;
                let kind = self.type_name()?;
                self.expect_sign(",")?;
                let value = Box::new(self.expression()?);
                let style = if self.takes_sign(",") { Some(Box::new(self.expression()?)) } else { None };
                self.expect_sign(")")?;
                Ok(Expression::Cast { value, kind, try_only: lower == "try_convert", style })
            }
            "count" if called && matches!(self.peek_at(2), Kind::Sign("*")) => {
                self.at += 3;
                self.expect_sign(")")?;
                Ok(Expression::CountAll)
            }
            "row_number" if called => self.row_number(),
            // Functions that share their names with words of joins.
            "left" | "right" if called => self.column_or_call(),
            "current_timestamp" => {
                self.at += 1;
                Ok(Expression::Call { name: vec!["getdate".into()], arguments: Vec::new(), distinct: false })
            }
            "system_user" | "suser_name" | "user" if !called => {
                self.at += 1;
                Ok(Expression::Call { name: vec!["suser_sname".into()], arguments: Vec::new(), distinct: false })
            }
            _ if is_reserved(&lower) => Err(self.unexpected()),
            _ => self.column_or_call(),
        }
    }

    fn case(&mut self) -> Result<Expression, SqlError> {
        self.at += 1;
        let operand = if self.is_word("WHEN") { None } else { Some(Box::new(self.expression()?)) };
        let mut whens = Vec::new();
        while self.takes("WHEN") {
            let when = self.expression()?;
            self.expect("THEN")?;
            whens.push((when, self.expression()?));
        }
        if whens.is_empty() {
            return Err(self.unexpected());
        }
        let otherwise = if self.takes("ELSE") { Some(Box::new(self.expression()?)) } else { None };
        self.expect("END")?;
        Ok(Expression::Case { operand, whens, otherwise })
    }

    fn row_number(&mut self) -> Result<Expression, SqlError> {
        self.at += 2;
        self.expect_sign(")")?;
        self.expect("OVER")?;
        self.expect_sign("(")?;
        let partition = if self.takes_all(&["PARTITION", "BY"]) { self.list(Parser::expression)? } else { Vec::new() };
        self.expect("ORDER")?;
        self.expect("BY")?;
        let order = self.order_list()?;
        self.expect_sign(")")?;
        Ok(Expression::RowNumber { partition, order })
    }

    /// `t.c`, `c`, `f(…)`, `sys.f(…)`.
    fn column_or_call(&mut self) -> Result<Expression, SqlError> {
        let mut parts = self.dotted()?;
        if self.takes_sign("(") {
            let distinct = self.takes("DISTINCT");
            // The first argument of DATEDIFF and its like is a bare word.
            let arguments = if self.is_sign(")") { Vec::new() } else { self.list(Parser::expression)? };
            self.expect_sign(")")?;
            return Ok(Expression::Call { name: parts, arguments, distinct });
        }
        let name = parts.pop().unwrap_or_default();
        Ok(Expression::Column { table: parts.pop(), name })
    }

    pub(super) fn type_name(&mut self) -> Result<Type, SqlError> {
        let mut name = self.dotted()?.pop().unwrap_or_default().to_lowercase();
        if name == "double" && self.takes("PRECISION") {
            name = "float".into();
        }
        let mut sizes = Vec::new();
        if self.takes_sign("(") {
            if self.takes("MAX") {
                sizes.push(0);
            } else {
                sizes = self.list(Parser::integer)?;
            }
            self.expect_sign(")")?;
        }
        let length = |most: u16| u16::try_from(sizes.first().copied().unwrap_or(30)).unwrap_or(most).min(most);
        let declared = |most: u16| if sizes.is_empty() { 1 } else { length(most) };
        Ok(match name.as_str() {
            "bit" => Type::Bit,
            "tinyint" => Type::TinyInt,
            "smallint" => Type::SmallInt,
            "int" | "integer" => Type::Int,
            "bigint" => Type::BigInt,
            "float" | "real" => Type::Float,
            "numeric" | "decimal" | "dec" => {
                if sizes.get(1).copied().unwrap_or(0) > 0 {
                    return Err(SqlError::unsupported("numeric with a scale"));
                }
                Type::Numeric {
                    precision: u8::try_from(sizes.first().copied().unwrap_or(18)).unwrap_or(38).clamp(1, 38),
                }
            }
            "datetime" | "datetime2" | "smalldatetime" | "date" => Type::DateTime,
            "sysname" => Type::NVarChar { length: 128 },
            "nvarchar" | "nchar" => Type::NVarChar { length: if sizes.is_empty() { 30 } else { length(4000) } },
            "ntext" | "text" => Type::NVarChar { length: 0 },
            "varchar" => Type::VarChar { length: if sizes.is_empty() { 30 } else { length(8000) } },
            "char" => Type::Char { length: declared(8000) },
            "varbinary" | "binary" => Type::VarBinary { length: length(8000) },
            "uniqueidentifier" => Type::UniqueIdentifier,
            _ => return Err(SqlError::unsupported(format_args!("the type {name}"))),
        })
    }
}

fn binary(sign: Sign, left: Expression, right: Expression) -> Expression {
    Expression::Binary { sign, left: Box::new(left), right: Box::new(right) }
}

fn number(digits: &str) -> Option<Expression> {
    if digits.contains(['.', 'e', 'E']) {
        return Some(Expression::Literal(Value::Float(digits.parse().ok()?), Type::Float));
    }
    if let Ok(small) = digits.parse() {
        return Some(Expression::Literal(Value::Int(small), Type::Int));
    }
    let precision = u8::try_from(digits.len()).ok().filter(|length| *length <= 38)?;
    Some(Expression::Literal(Value::Numeric(digits.parse().ok()?), Type::Numeric { precision }))
}
