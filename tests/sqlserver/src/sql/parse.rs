//! The grammar: text to statements.
//!
//! An own parser rather than a general one, because batches mix queries with administrative statements without a separator, and
//! because a clause that is parsed and then not evaluated would be a silent lie. It must never panic, and never go deeper than
//! `DEPTH_MAX`.

mod expression;
mod query;
mod statement;
mod definition;
mod admin;
mod backup;

use super::syntax::{Statement, What};
use super::token::{Kind, Token, tokens};
use crate::world::SqlError;

const DEPTH_MAX: usize = 40;
/// Operators in a row make a tree as deep as they are many.
const LINKS_MAX: usize = 300;

pub struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Operators, joins and unions of the statement so far.
    links: usize,
}

/// All statements of a batch. An error in any of them means that none runs, as in the real one.
pub fn batch(text: &str) -> Result<Vec<Statement>, (SqlError, i32)> {
    let mut parser = Parser { text, tokens: tokens(text).map_err(|error| (error, 1))?, at: 0, depth: 0, links: 0 };
    let mut statements = Vec::new();
    // The first word of a batch may be a procedure's name.
    if let Some(call) = parser.bare_call().map_err(|error| (error, parser.line()))? {
        statements.push(call);
    }
    while !parser.is_end() {
        let one = parser.statement().map_err(|error| (error, parser.line()))?;
        if one.what != What::Empty {
            statements.push(one);
        }
    }
    Ok(statements)
}

/// The parameters of sp_executesql: `@P1 nvarchar(4000), @P2 int OUTPUT`.
pub fn declarations(text: &str) -> Result<Vec<(String, crate::answer::Type, bool)>, SqlError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, links: 0 };
    if parser.is_end() {
        return Ok(Vec::new());
    }
    let all = parser.list(|parser| {
        let Kind::Variable(name) = parser.next() else { return Err(SqlError::syntax("@params")) };
        parser.takes("AS");
        let kind = parser.type_name()?;
        let output = parser.takes("OUTPUT") || parser.takes("OUT");
        Ok((name, kind, output))
    })?;
    if parser.is_end() { Ok(all) } else { Err(parser.unexpected()) }
}

impl Parser<'_> {
    fn peek(&self) -> &Kind {
        &self.tokens[self.at.min(self.tokens.len() - 1)].kind
    }

    fn peek_at(&self, ahead: usize) -> &Kind {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].kind
    }

    fn line(&self) -> i32 {
        self.tokens[self.at.min(self.tokens.len() - 1)].line
    }

    fn next(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn is_end(&self) -> bool {
        *self.peek() == Kind::End
    }

    fn word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Kind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn is_word(&self, word: &str) -> bool {
        self.word_at(0, word)
    }

    fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(word))
    }

    /// Takes a word if it is next.
    fn takes(&mut self, word: &str) -> bool {
        let is = self.is_word(word);
        if is {
            self.at += 1;
        }
        is
    }

    /// Takes several words if they are all next.
    fn takes_all(&mut self, words: &[&str]) -> bool {
        let are = words.iter().enumerate().all(|(ahead, word)| self.word_at(ahead, word));
        if are {
            self.at += words.len();
        }
        are
    }

    fn expect(&mut self, word: &str) -> Result<(), SqlError> {
        if self.takes(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Kind::Sign(found) if *found == sign)
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is = self.is_sign(sign);
        if is {
            self.at += 1;
        }
        is
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), SqlError> {
        if self.takes_sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> SqlError {
        SqlError::syntax(&match self.peek() {
            Kind::Word(word) | Kind::Quoted(word) | Kind::Variable(word) | Kind::Global(word) | Kind::Number(word) => {
                word.clone()
            }
            Kind::Text { value, .. } => value.clone(),
            Kind::Binary(_) => "0x".to_owned(),
            Kind::Sign(sign) => (*sign).to_owned(),
            Kind::End => {
                let last = self.tokens.iter().rev().nth(1);
                last.map_or_else(String::new, |token| self.text[token.start..token.end].to_owned())
            }
        })
    }

    /// A name, bare or quoted.
    fn name(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Kind::Word(name) | Kind::Quoted(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `a.b.c`, `db..table`.
    fn dotted(&mut self) -> Result<Vec<String>, SqlError> {
        let mut parts = vec![self.name()?];
        while self.takes_sign(".") {
            if self.is_sign(".") {
                parts.push(String::new());
            } else {
                parts.push(self.name()?);
            }
        }
        Ok(parts)
    }

    /// `'text'` or `N'text'`.
    fn text(&mut self) -> Result<String, SqlError> {
        match self.next() {
            Kind::Text { value, .. } => Ok(value),
            _ => {
                self.at -= 1;
                Err(self.unexpected())
            }
        }
    }

    fn integer(&mut self) -> Result<i64, SqlError> {
        match self.peek() {
            Kind::Number(digits) => {
                let number = digits.parse().map_err(|_| self.unexpected())?;
                self.at += 1;
                Ok(number)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// One level deeper, or the error of a text that nobody wrote by hand.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, SqlError>) -> Result<T, SqlError> {
        if self.depth >= DEPTH_MAX {
            return Err(SqlError::unsupported("this many levels of nesting"));
        }
        self.depth += 1;
        let made = parse(self);
        self.depth -= 1;
        made
    }

    /// One more operator in this statement.
    fn link(&mut self) -> Result<(), SqlError> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(SqlError::unsupported("this many operators in one statement"));
        }
        Ok(())
    }

    fn list<T>(&mut self, mut parse: impl FnMut(&mut Self) -> Result<T, SqlError>) -> Result<Vec<T>, SqlError> {
        let mut all = vec![parse(self)?];
        while self.takes_sign(",") {
            all.push(parse(self)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_need_no_separator() {
        let made = batch("SET NOCOUNT ON SELECT 1 AS a SELECT 2; USE master KILL 57").expect("parses");
        let words: Vec<&str> = made.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(words, ["SET NOCOUNT ON", "SELECT 1 AS a", "SELECT 2", "USE master", "KILL 57"]);
    }

    #[test]
    fn what_is_unknown_is_an_error_with_the_word() {
        let near = |text: &str| batch(text).expect_err("an error").0;
        assert_eq!(near("SELEC 1").number, 102);
        assert_eq!(near("SELECT 1 FROM t FOR XML PATH").number, 102);
        assert_eq!(near("KILL @p").number, 102);
        assert_eq!(near("ALTER AVAILABILITY GROUP ag EXPLODE").text, "Incorrect syntax near 'EXPLODE'.");
        assert_eq!(near("SELECT\n1,\nFROM").number, 102);
        assert_eq!(batch("SELECT\n1 +\n\nFROM").expect_err("an error").1, 4);
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_the_end_of_the_stack() {
        let text = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert!(batch(&text).is_err());
        assert!(batch(&"IF 1=1 ".repeat(5000)).is_err());
        assert!(batch(&format!("SELECT -{}1", " - ".repeat(5000))).is_err());
        assert!(batch(&format!("SELECT {}1", "NOT ".repeat(5000))).is_err());
        assert!(batch(&format!("SELECT 1{}", " + 1".repeat(50_000))).is_err());
    }
}
