//! An application that remembers every payload, and nothing else.

use baton_log::{Application, AppliedEntry};

/// What was applied, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    pub lines: Vec<(u64, Vec<u8>)>,
}

impl Ledger {
    #[allow(dead_code, reason = "not every test that includes this file looks into it")]
    pub fn has(&self, payload: &[u8]) -> bool {
        self.lines.iter().any(|(_, line)| line == payload)
    }
}

impl Application for Ledger {
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Result<Vec<u8>, String> {
        self.lines.push((entry.index, entry.payload.to_vec()));
        Ok((self.lines.len() as u64).to_be_bytes().to_vec())
    }

    fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.lines).expect("postcard encodes into memory")
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.lines = postcard::from_bytes(snapshot).map_err(|e| e.to_string())?;
        Ok(())
    }
}
