//! SELECT, with its sources.

use super::Parser;
use super::expression::is_reserved;
use crate::sql::syntax::{Body, Expression, Item, Join, Query, Select, Source};
use crate::sql::token::Kind;
use crate::world::SqlError;

impl Parser<'_> {
    pub(super) fn query(&mut self) -> Result<Query, SqlError> {
        self.deeper(|parser| {
            let mut with = Vec::new();
            if parser.takes("WITH") {
                with = parser.list(|parser| {
                    let name = parser.name()?;
                    let columns = parser.column_names()?;
                    parser.expect("AS")?;
                    parser.expect_sign("(")?;
                    let query = parser.query()?;
                    parser.expect_sign(")")?;
                    Ok((name, columns, query))
                })?;
            }
            let mut body = parser.body()?;
            while parser.takes("UNION") {
                parser.link()?;
                let all = parser.takes("ALL");
                body = Body::Union { left: Box::new(body), right: Box::new(parser.body()?), all };
            }
            let order = if parser.takes_all(&["ORDER", "BY"]) { parser.order_list()? } else { Vec::new() };
            let (mut offset, mut fetch) = (None, None);
            if !order.is_empty() && parser.takes("OFFSET") {
                offset = Some(parser.expression()?);
                if !parser.takes("ROWS") {
                    parser.expect("ROW")?;
                }
                if parser.takes("FETCH") {
                    if !parser.takes("NEXT") {
                        parser.expect("FIRST")?;
                    }
                    fetch = Some(parser.expression()?);
                    if !parser.takes("ROWS") {
                        parser.expect("ROW")?;
                    }
                    parser.expect("ONLY")?;
                }
            }
            parser.query_hints()?;
            Ok(Query { with, body, order, offset, fetch })
        })
    }

    /// `OPTION (RECOMPILE)` and the like say how, not what.
    fn query_hints(&mut self) -> Result<(), SqlError> {
        if self.takes("OPTION") {
            self.expect_sign("(")?;
            if !self.takes("RECOMPILE") {
                self.expect("MAXDOP")?;
                self.integer()?;
            }
            self.expect_sign(")")?;
        }
        Ok(())
    }

    fn column_names(&mut self) -> Result<Vec<String>, SqlError> {
        if !self.takes_sign("(") {
            return Ok(Vec::new());
        }
        let names = self.list(Parser::name)?;
        self.expect_sign(")")?;
        Ok(names)
    }

    fn body(&mut self) -> Result<Body, SqlError> {
        if self.takes_sign("(") {
            let query = self.query()?;
            self.expect_sign(")")?;
            return Ok(Body::Nested(Box::new(query)));
        }
        Ok(Body::Select(Box::new(self.select()?)))
    }

    fn select(&mut self) -> Result<Select, SqlError> {
        self.expect("SELECT")?;
        let distinct = self.takes("DISTINCT");
        if !distinct {
            self.takes("ALL");
        }
        let top = if self.takes("TOP") {
            if self.takes_sign("(") {
                let count = self.expression()?;
                self.expect_sign(")")?;
                Some(count)
            } else {
                Some(Expression::Literal(
                    crate::answer::Value::Int(i32::try_from(self.integer()?).unwrap_or(i32::MAX)),
                    crate::answer::Type::Int,
                ))
            }
        } else {
            None
        };
        let items = self.list(Parser::item)?;
        let from = if self.takes("FROM") { Some(self.sources()?) } else { None };
        let filter = if self.takes("WHERE") { Some(self.expression()?) } else { None };
        let group = if self.takes_all(&["GROUP", "BY"]) { self.list(Parser::expression)? } else { Vec::new() };
        let having = if self.takes("HAVING") { Some(self.expression()?) } else { None };
        Ok(Select { distinct, top, items, from, filter, group, having })
    }

    fn item(&mut self) -> Result<Item, SqlError> {
        if self.takes_sign("*") {
            return Ok(Item::All(None));
        }
        if let Kind::Variable(variable) = self.peek().clone()
            && matches!(self.peek_at(1), Kind::Sign("="))
        {
            self.at += 2;
            return Ok(Item::Assign { variable, value: self.expression()? });
        }
        // `alias = expression`, T-SQL's own way.
        if matches!(self.peek(), Kind::Word(_) | Kind::Quoted(_)) && matches!(self.peek_at(1), Kind::Sign("=")) {
            let alias = self.name()?;
            self.at += 1;
            return Ok(Item::Expression { value: self.expression()?, alias: Some(alias) });
        }
        if let (Kind::Word(table) | Kind::Quoted(table), Kind::Sign("."), Kind::Sign("*")) =
            (self.peek().clone(), self.peek_at(1), self.peek_at(2))
        {
            self.at += 3;
            return Ok(Item::All(Some(table)));
        }
        let value = self.expression()?;
        Ok(Item::Expression { value, alias: self.item_alias()? })
    }

    fn item_alias(&mut self) -> Result<Option<String>, SqlError> {
        if self.takes("AS") {
            return Ok(Some(if matches!(self.peek(), Kind::Text { .. }) { self.text()? } else { self.name()? }));
        }
        self.bare_alias()
    }

    fn bare_alias(&mut self) -> Result<Option<String>, SqlError> {
        match self.peek() {
            Kind::Quoted(_) => Ok(Some(self.name()?)),
            Kind::Word(word) if !is_reserved(word) && !super::statement::begins_statement(word) => {
                Ok(Some(self.name()?))
            }
            _ => Ok(None),
        }
    }

    fn alias(&mut self) -> Result<Option<String>, SqlError> {
        if self.takes("AS") { Ok(Some(self.name()?)) } else { self.bare_alias() }
    }

    pub(super) fn order_list(&mut self) -> Result<Vec<(Expression, bool)>, SqlError> {
        self.list(|parser| {
            let value = parser.expression()?;
            let descending = parser.takes("DESC");
            if !descending {
                parser.takes("ASC");
            }
            Ok((value, descending))
        })
    }

    fn sources(&mut self) -> Result<Source, SqlError> {
        let mut left = self.joined()?;
        while self.takes_sign(",") {
            self.link()?;
            let right = self.joined()?;
            left = Source::Join { kind: Join::Cross, left: Box::new(left), right: Box::new(right), on: None };
        }
        Ok(left)
    }

    fn joined(&mut self) -> Result<Source, SqlError> {
        let mut left = self.source()?;
        loop {
            let kind = if self.takes_all(&["INNER", "JOIN"]) || self.takes("JOIN") {
                Join::Inner
            } else if self.takes_all(&["LEFT", "OUTER", "JOIN"]) || self.takes_all(&["LEFT", "JOIN"]) {
                Join::Left
            } else if self.takes_all(&["RIGHT", "OUTER", "JOIN"]) || self.takes_all(&["RIGHT", "JOIN"]) {
                Join::Right
            } else if self.takes_all(&["FULL", "OUTER", "JOIN"]) || self.takes_all(&["FULL", "JOIN"]) {
                Join::Full
            } else if self.takes_all(&["CROSS", "JOIN"]) {
                Join::Cross
            } else if self.takes_all(&["CROSS", "APPLY"]) {
                Join::CrossApply
            } else if self.takes_all(&["OUTER", "APPLY"]) {
                Join::OuterApply
            } else {
                return Ok(left);
            };
            self.link()?;
            let right = Box::new(self.source()?);
            let on = if matches!(kind, Join::Inner | Join::Left | Join::Right | Join::Full) {
                self.expect("ON")?;
                Some(self.expression()?)
            } else {
                None
            };
            left = Source::Join { kind, left: Box::new(left), right, on };
        }
    }

    fn source(&mut self) -> Result<Source, SqlError> {
        if self.takes_sign("(") {
            if self.takes("VALUES") {
                let rows = self.list(Parser::value_row)?;
                self.expect_sign(")")?;
                self.takes("AS");
                let alias = self.name()?;
                let columns = self.column_names()?;
                return Ok(Source::Values { rows, alias, columns });
            }
            if !self.is_any(&["SELECT", "WITH"]) && !self.is_sign("(") {
                let inner = self.deeper(Parser::joined)?;
                self.expect_sign(")")?;
                return Ok(inner);
            }
            let query = Box::new(self.query()?);
            self.expect_sign(")")?;
            self.takes("AS");
            let alias = self.name()?;
            let columns = self.column_names()?;
            return Ok(Source::Derived { query, alias, columns });
        }
        if let Kind::Word(word) = self.peek()
            && is_reserved(word)
        {
            return Err(self.unexpected());
        }
        let name = self.dotted()?;
        let arguments = if self.takes_sign("(") {
            let found = if self.is_sign(")") { Vec::new() } else { self.list(Parser::expression)? };
            self.expect_sign(")")?;
            Some(found)
        } else {
            None
        };
        let alias = self.alias()?;
        // `WITH (NOLOCK)`.
        if self.is_word("WITH") && matches!(self.peek_at(1), Kind::Sign("(")) {
            self.at += 2;
            self.list(Parser::name)?;
            self.expect_sign(")")?;
        }
        Ok(Source::Object { name, arguments, alias })
    }

    pub(super) fn value_row(&mut self) -> Result<Vec<Expression>, SqlError> {
        self.expect_sign("(")?;
        let row = self.list(Parser::expression)?;
        self.expect_sign(")")?;
        Ok(row)
    }
}
