//! One exploration, its size, and what it found.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    hash::Hash,
    time::{Duration, Instant},
};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// See the module.
#[derive(Debug)]
pub struct Exploration {
    /// Nothing was left to look at.
    pub complete: bool,
    /// Reached, the same one as often as it was.
    pub states: usize,
    pub unique_states: usize,
    /// Steps of the longest way to a state that has no shorter one.
    pub depth: usize,
    pub took: Duration,
    /// What must always be true and was not: the shortest way there.
    pub violations: BTreeMap<&'static str, Vec<String>>,
    /// What must be possible, and was not.
    pub unreached: Vec<&'static str>,
}

/// Explores everything, or until something that must be true is not. In one thread: the tables that all would share hold two of them
/// up for longer than they help, and the way that is found is the shortest.
pub fn explore<M>(model: M) -> Exploration
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Debug + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug,
{
    let began = Instant::now();
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let took = began.elapsed();
    let mut found = checker.discoveries();
    let properties = checker.model().properties();
    let sometimes = properties.iter().filter(|property| property.expectation == Expectation::Sometimes);
    let unreached = sometimes.map(|property| property.name).filter(|name| !found.contains_key(name)).collect();
    let mut violations = BTreeMap::new();
    for property in properties.iter().filter(|property| property.expectation == Expectation::Always) {
        if let Some(path) = found.remove(property.name) {
            let steps = path.into_actions().into_iter().map(|action| checker.model().format_action(&action));
            violations.insert(property.name, steps.collect());
        }
    }
    Exploration {
        // Without a violation nothing but the end of the work ends it.
        complete: violations.is_empty() && checker.is_done(),
        states: checker.state_count(),
        unique_states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took,
        violations,
        unreached,
    }
}

impl fmt::Display for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let how = if self.complete { "complete" } else { "ended early" };
        write!(
            f,
            "{how}: {} states, {} unique, depth {}, {seconds:.1} s",
            self.states, self.unique_states, self.depth
        )?;
        for (name, steps) in &self.violations {
            write!(f, "\n  not always true: {name}, after {} steps", steps.len())?;
            for (number, step) in steps.iter().enumerate() {
                write!(f, "\n    {:>3} {step}", number + 1)?;
            }
        }
        for name in &self.unreached {
            write!(f, "\n  never: {name}")?;
        }
        Ok(())
    }
}
