//! Files: edited atomically (write beside, fsync, rename), owner and mode kept, a backup kept for `undo`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::Text;

/// Edits to a `.properties` file. At least one of `set`, `unset`, `remove_from_list`, `add_to_list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Properties {
    pub path: String,
    /// Keys and their new values; a key that is missing is added at the end.
    #[serde(default)]
    pub set: BTreeMap<String, Text>,
    /// Keys to take out.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Key → entries to take out of its comma-separated value. The rest keeps its order and spacing.
    /// The key `*` means every key whose value lists the entry.
    #[serde(default)]
    pub remove_from_list: BTreeMap<String, Vec<String>>,
    /// Key → entries to append to its comma-separated value where they are missing.
    #[serde(default)]
    pub add_to_list: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub path: String,
    /// The whole line, without its end.
    pub line: String,
    /// A regular expression: the line that it matches is replaced by `line` (or taken out).
    #[serde(default)]
    pub matching: Option<String>,
    #[serde(default)]
    pub absent: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    pub path: String,
    /// The text as it stands in the file.
    pub find: String,
    pub with: String,
    /// How many times `find` must occur before anything is changed; without it, at least once.
    #[serde(default)]
    pub count: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub path: String,
    pub content: Text,
    /// Octal, as in `0640`, for a file that does not exist yet.
    #[serde(default)]
    pub mode: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    pub from: String,
    pub to: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    pub path: String,
}
