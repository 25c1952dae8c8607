//! Chance that does not depend on what happened before: a number from the seed and the names of what is asked.
//!
//! Apart so that a fault that is taken away changes what it did, and nothing else: else no plan could be made smaller.

use crate::entropy::mix;

/// A sequence of its own for each thing that is named.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    pub fn of(seed: u64, names: &[&str]) -> Self {
        let mut state = mix(seed.wrapping_add(0x51_7C_C1_B7_27_22_0A_95));
        for name in names {
            for byte in name.bytes() {
                state = mix(state ^ u64::from(byte)).wrapping_add(0x9E37_79B9_7F4A_7C15);
            }
            state = mix(state.wrapping_add(1));
        }
        Self { state }
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// From 0 to `limit`, both included.
    pub fn up_to(&mut self, limit: u64) -> u64 {
        self.draw() % (limit + 1)
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.up_to(high - low)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.draw().is_multiple_of(n)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.up_to(from.len() as u64 - 1) as usize]
    }
}
