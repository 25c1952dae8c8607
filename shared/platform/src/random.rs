//! Chance, as a thing that is handed in.
//!
//! Apart so that a simulation replays from one number. It must never be read by a decision: decisions take what was
//! drawn as a parameter.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// A source of random numbers; its clones draw from the same sequence. Good enough for tokens when it was seeded by the
/// system.
#[derive(Clone)]
pub struct Random {
    generator: Arc<Mutex<StdRng>>,
}

impl Random {
    /// Seeded by the operating system: for production.
    pub fn from_system() -> Self {
        Self::over(rand::make_rng())
    }

    /// Always the same sequence for the same seed: for tests and simulation. Never for tokens.
    pub fn from_seed(seed: u64) -> Self {
        Self::over(StdRng::seed_from_u64(seed))
    }

    /// A source of its own, seeded from this one: what one component draws then does not depend on how often another
    /// one drew in between.
    pub fn fork(&self) -> Self {
        Self::from_seed_bytes(self.bytes())
    }

    /// Any 64 bits.
    pub fn next_u64(&self) -> u64 {
        self.with(|generator| generator.next_u64())
    }

    /// A number from 0 to `limit`, both included, each as likely.
    pub fn up_to(&self, limit: u64) -> u64 {
        self.with(|generator| generator.random_range(0..=limit))
    }

    /// Random bytes, for ids and tokens.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.with(|generator| generator.fill_bytes(&mut bytes));
        bytes
    }

    fn over(generator: StdRng) -> Self {
        Self { generator: Arc::new(Mutex::new(generator)) }
    }

    fn from_seed_bytes(seed: [u8; 32]) -> Self {
        Self::over(StdRng::from_seed(seed))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        // A panic elsewhere cannot leave a generator half drawn in a way that matters.
        draw(&mut self.generator.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Without its state: that would give away what comes next.
impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Random").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(random: &Random) -> Vec<u64> {
        (0..8).map(|_| random.next_u64()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_sequence_and_another_seed_another() {
        assert_eq!(draw(&Random::from_seed(7)), draw(&Random::from_seed(7)));
        assert_ne!(draw(&Random::from_seed(7)), draw(&Random::from_seed(8)));
        assert_ne!(draw(&Random::from_system()), draw(&Random::from_system()));
    }

    #[test]
    fn what_a_fork_draws_does_not_depend_on_its_parents_later_draws() {
        let (left, right) = (Random::from_seed(7), Random::from_seed(7));
        let (left_fork, right_fork) = (left.fork(), right.fork());
        draw(&left);
        assert_eq!(draw(&left_fork), draw(&right_fork));
        assert_ne!(draw(&left_fork), draw(&left));
    }

    #[test]
    fn both_ends_of_a_range_are_drawn() {
        let random = Random::from_seed(7);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| random.up_to(3)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(random.up_to(0), 0);
    }
}
