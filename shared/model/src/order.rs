//! What the coordinator asks of an agent.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{fence::Fence, ids::TaskId, time::Span};

/// A fenced command to perform one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub task: TaskId,
    pub fence: Fence,
    /// `service.stop`; see [`crate::action`].
    pub action: String,
    /// The action's parameters, every value resolved but secrets.
    pub params: Value,
    /// The agent ends the task (killing its process group, cancelling its query) after this long.
    pub timeout: Span,
}
