//! From answers to health: how many in a row must go wrong.
//!
//! Pure, and apart because the count is what makes a failure of a moment none.

use baton_model::assignment::Health;

use crate::probe::Answer;

/// What was seen in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    bad: u32,
    checks: u32,
}

impl Count {
    pub fn new(checks: u32) -> Self {
        Self { bad: 0, checks: checks.max(1) }
    }

    /// Takes an answer into account. A death counts at once: nobody needs to see twice that a process is gone.
    pub fn health(&mut self, answer: &Answer) -> Health {
        match answer {
            Answer::Healthy(_) => self.bad = 0,
            Answer::Unhealthy(_) => self.bad = self.bad.saturating_add(1),
            Answer::Died(_) => self.bad = self.checks,
            // It says nothing of the component: neither for it nor against it.
            Answer::CannotTell(_) => return Health::Unknown,
        }
        match self.bad {
            0 => Health::Healthy,
            bad if bad >= self.checks => Health::Failed,
            _ => Health::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_in_a_row_as_its_checks_say_and_a_death_at_once() {
        let answer = |letter: char| match letter {
            '+' => Answer::Healthy(String::new()),
            '-' => Answer::Unhealthy(String::new()),
            'x' => Answer::Died(String::new()),
            _ => Answer::CannotTell(String::new()),
        };
        let cases = [("+--+---", "hUUhUUF"), ("x-+-", "FFhU"), ("-?--", "UUUF"), ("---+", "UUFh"), ("x?+", "FUh")];
        for (answers, expected) in cases {
            let mut count = Count::new(3);
            let seen: String = (answers.chars())
                .map(|letter| match count.health(&answer(letter)) {
                    Health::Healthy => 'h',
                    Health::Failed => 'F',
                    _ => 'U',
                })
                .collect();
            assert_eq!(seen, expected, "{answers}");
        }
        assert_eq!(Count::new(0).health(&answer('-')), Health::Failed);
    }
}
