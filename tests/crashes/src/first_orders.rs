//! An attendant made of two closures, for tests with an accident of their own at every step: one is told of the first order of each,
//! the other mends what a run has halted for.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{drive::Attendant, news::News};

/// A step is ordered for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub coordinator: usize,
    pub step: String,
    pub host: String,
}

/// See the module.
#[derive(Debug)]
pub struct FirstOrders<A, M> {
    at: A,
    mend: M,
    steps: BTreeSet<String>,
}

impl<A, M> FirstOrders<A, M> {
    pub fn new(at: A, mend: M) -> Self {
        Self { at, mend, steps: BTreeSet::new() }
    }
}

impl<W: ?Sized, A: AsyncFnMut(&mut W, &Order), M: AsyncFnMut(&mut W, &str)> Attendant<W> for FirstOrders<A, M> {
    async fn told(&mut self, world: &mut W, news: &News) -> Result<()> {
        let News::Ordered { coordinator, task } = news else { return Ok(()) };
        if self.steps.insert(task.step.clone()) {
            let order = Order { coordinator: *coordinator, step: task.step.clone(), host: task.host.clone() };
            (self.at)(world, &order).await;
        }
        Ok(())
    }

    async fn halted(&mut self, world: &mut W, why: &str) -> Result<()> {
        (self.mend)(world, why).await;
        Ok(())
    }
}
