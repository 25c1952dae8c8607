//! Errors and information with SQL Server's own numbers, classes and words.
//!
//! Apart so that the words stand in one place, next to each other. It must never invent a number: what the simulator cannot do
//! is 50000 with a sentence.

mod catalogue;

use crate::answer::Message;
use catalogue::CATALOGUE;
use std::fmt;

/// What a statement says instead of, or besides, its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub number: i32,
    pub class: u8,
    pub state: u8,
    pub text: String,
    pub procedure: String,
    /// Errors that follow on the wire: 3013 after the reason, 5069, 18456.
    pub then: Vec<SqlError>,
}

impl SqlError {
    /// A catalogued error with its `%s` filled in order.
    pub fn new(number: i32, values: &[&str]) -> SqlError {
        let (class, template) = match CATALOGUE.binary_search_by_key(&number, |(number, _, _)| *number) {
            Ok(found) => (CATALOGUE[found].1, CATALOGUE[found].2),
            Err(_) => (16, "%s"),
        };
        let mut text = String::new();
        let mut values = values.iter();
        let mut rest = template;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            if rest[at..].starts_with("%s") {
                text.push_str(values.next().copied().unwrap_or(""));
            } else {
                text.push('%');
            }
            rest = rest.get(at + 2..).unwrap_or("");
        }
        text.push_str(rest);
        SqlError { number, class, state: 1, text, procedure: String::new(), then: Vec::new() }
    }

    /// What the simulator cannot do; never an empty success.
    pub fn unsupported(what: impl fmt::Display) -> SqlError {
        SqlError::new(50000, &[&format!("The simulator does not know this: {what}.")])
    }

    pub fn syntax(near: &str) -> SqlError {
        SqlError::new(102, &[near])
    }

    #[must_use]
    pub fn then(mut self, next: SqlError) -> SqlError {
        self.then.push(next);
        self
    }

    /// A backup's or restore's error: the reason first, then 3013.
    #[must_use]
    pub fn terminating(self, command: &str) -> SqlError {
        self.then(SqlError::new(3013, &[command]))
    }

    #[must_use]
    pub fn with_state(mut self, state: u8) -> SqlError {
        self.state = state;
        self
    }

    #[must_use]
    pub fn in_procedure(mut self, procedure: &str) -> SqlError {
        self.procedure = procedure.to_owned();
        self
    }

    /// As messages, in order.
    pub fn messages(&self, line: i32) -> Vec<Message> {
        let own = Message {
            number: self.number,
            state: self.state,
            // Severity 10 travels as class 0.
            class: if self.class <= 10 { 0 } else { self.class },
            text: self.text.clone(),
            procedure: self.procedure.clone(),
            line,
        };
        std::iter::once(own).chain(self.then.iter().flat_map(|next| next.messages(line))).collect()
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Msg {}, Level {}, State {}: {}", self.number, self.class, self.state, self.text)
    }
}

impl std::error::Error for SqlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_in_order_and_fills_in_values() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(SqlError::new(207, &["x"]).text, "Invalid column name 'x'.");
        assert!(SqlError::new(5060, &["100"]).text.ends_with("completion: 100%."));
        let numbers: Vec<i32> = SqlError::new(4305, &["1", "2"])
            .terminating("RESTORE LOG")
            .messages(1)
            .iter()
            .map(|one| one.number)
            .collect();
        assert_eq!(numbers, [4305, 3013]);
    }
}
