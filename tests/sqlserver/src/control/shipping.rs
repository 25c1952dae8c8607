//! Log shipping as it should begin.

use crate::world::World;
use serde::{Deserialize, Serialize};

/// A database that is shipped from one instance to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shipping {
    pub primary: String,
    pub secondary: String,
    pub database: String,
    /// Where the primary writes its log backups, and the secondary copies from.
    pub share: String,
    /// Where the secondary copies to.
    pub destination: String,
    /// STANDBY rather than NORECOVERY.
    #[serde(default)]
    pub standby: bool,
}

pub(super) fn establish(_world: &mut World, _shipping: &Shipping) {}
