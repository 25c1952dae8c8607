//! How a statement ends: its faults before and after, its answers, its error.

use super::super::syntax::Statement;
use super::{Batch, ENDS_BATCH, Frame, FrameKind, Host, Pending, Step};
use crate::answer::Answer;
use crate::world::SqlError;
use crate::world::fault::{self, normalize};

impl Batch {
    /// Faults that wait for this statement. False: it does not run now.
    pub(super) fn meet_faults(&mut self, host: &mut Host<'_>, statement: &Statement) -> bool {
        if statement.text.is_empty() {
            return true;
        }
        let normalized = normalize(&statement.text);
        let mut goes_on = true;
        let mut delay = 0;
        let mut refused = None;
        for fault in &mut host.world.faults {
            if !fault.matches(host.instance, &normalized) {
                continue;
            }
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            match &fault.what {
                fault::What::Delay { ms } => delay += i64::try_from(*ms).unwrap_or(0),
                fault::What::DieBefore => self.dying = true,
                fault::What::Refuse { number, text } => refused = Some(named_error(*number, text.as_deref())),
                fault::What::DropBefore => {
                    self.answers.push(Answer::Cut);
                    self.frames.clear();
                    goes_on = false;
                }
                after => self.after.push(after.clone()),
            }
        }
        host.world.faults.retain(|fault| fault.times != Some(0));
        if let Some(error) = refused {
            let _ = self.failed(host, error);
            return false;
        }
        if goes_on && delay > 0 && !self.dying {
            let at = host.world.clock + delay;
            self.pending = Some(Pending::Delayed { at, statement: Box::new(statement.clone()) });
            return false;
        }
        goes_on
    }

    /// The statement has had its effect; its answers go out, unless something is in their way.
    pub(super) fn conclude(&mut self, host: &mut Host<'_>, mut answers: Vec<Answer>) -> Step {
        if let Some(session) = host.sessions.all.get_mut(&host.spid) {
            session.running = None;
            session.last_error = 0;
            let counted = answers.iter().rev().find_map(|answer| match answer {
                Answer::Done { rows, .. } => Some(*rows),
                _ => None,
            });
            if let Some(rows) = counted {
                session.row_count = rows.map_or(0, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
            }
            if session.no_count {
                for answer in &mut answers {
                    if let Answer::Done { rows, .. } = answer {
                        *rows = None;
                    }
                }
            }
        }
        let mut late = 0;
        for fault in std::mem::take(&mut self.after) {
            match fault {
                fault::What::AnswerLate { ms } => late += i64::try_from(ms).unwrap_or(0),
                fault::What::DieAfter => {
                    self.dying = true;
                    return Step::Die;
                }
                fault::What::FailAfterEffect { number, text } => {
                    let mut error = named_error(number, text.as_deref());
                    if matches!(number, 41131 | 41149) && !host.world.doubts.late_failure_is_error {
                        error.class = 10;
                    }
                    let failed = error.class > 10;
                    answers = error.messages(self.line).into_iter().map(Answer::Said).collect();
                    answers.push(Answer::Done { rows: None, failed });
                }
                fault::What::DropAfter => {
                    answers = vec![Answer::Cut];
                    self.frames.clear();
                }
                fault::What::Hang => {
                    self.pending = Some(Pending::Forever);
                    return Step::Again;
                }
                fault::What::Delay { .. }
                | fault::What::DieBefore
                | fault::What::Refuse { .. }
                | fault::What::DropBefore => {}
            }
        }
        if late > 0 {
            self.pending = Some(Pending::Until { at: host.world.clock + late, answers });
            return Step::Again;
        }
        self.answers.extend(answers);
        Step::Again
    }

    pub(super) fn failed(&mut self, host: &mut Host<'_>, error: SqlError) -> Step {
        self.after.clear();
        let abort = host.sessions.all.get_mut(&host.spid).is_some_and(|session| {
            session.running = None;
            session.last_error = error.number;
            session.row_count = 0;
            session.abort_on_error
        });
        if abort
            && error.class > 10
            && let Some(session) = host.sessions.all.get_mut(&host.spid)
        {
            session.transaction = None;
        }
        let catches = self.frames.iter().rposition(|frame| matches!(frame.kind, FrameKind::Try(_)));
        if let Some(at) = catches
            && error.class < 20
        {
            while self.frames.len() > at + 1 {
                if let Some(Frame { kind: FrameKind::Procedure { .. }, .. }) = self.frames.pop() {
                    self.scopes.pop();
                }
            }
            if let Some(Frame { kind: FrameKind::Try(catch), .. }) = self.frames.pop() {
                self.caught.push(error);
                self.push(catch, FrameKind::Catch);
            }
            return Step::Again;
        }
        self.fail(&error, self.line);
        if abort || ENDS_BATCH.contains(&error.number) || error.class >= 20 {
            self.frames.clear();
        }
        Step::Again
    }
}

fn named_error(number: i32, text: Option<&str>) -> SqlError {
    match text {
        Some(text) => SqlError { text: text.to_owned(), ..SqlError::new(number, &[]) },
        None => SqlError::new(number, &["ag1"]),
    }
}
