//! How long things may take, in one place. No verdict depends on a number here: they end what would never end.

use std::time::Duration;

/// A run with all its accidents, on a loaded machine.
pub const RUN_WITHIN: Duration = Duration::from_secs(600);
/// A run of the way to the beginning, undisturbed.
pub const UNDISTURBED_WITHIN: Duration = Duration::from_secs(300);
/// Until the world has come to rest after a run: copies follow, services are healthy.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// What is expected to happen soon: an answer, a leader, agents on the line.
pub const SOON: Duration = Duration::from_secs(60);
/// A killed database server stays away from a run that neither halts for it nor goes on. This is the accident itself, and no wait.
pub const AWAY: Duration = Duration::from_secs(2);
