//! Names and numbers of things. A newtype each, so that a host is never passed where a group is wanted.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a {kind} name: 1 to 63 {letters}, digits, '-', '_' or '.', beginning with a letter or digit",
    letters = if *kind == "host" { "lower-case letters" } else { "letters" }
)]
pub struct InvalidName {
    pub kind: &'static str,
    pub value: String,
}

fn check_name(kind: &'static str, value: &str) -> Result<(), InvalidName> {
    // A host's name stands in its certificate, and those hold lower case alone: `DB1` could never come on the line.
    let lower_only = kind == "host";
    let plain = |c: char| c.is_ascii_alphanumeric() && !(lower_only && c.is_ascii_uppercase());
    let begins = value.chars().next().is_some_and(plain);
    let allowed = value.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'));
    if begins && allowed && value.len() <= 63 { Ok(()) } else { Err(InvalidName { kind, value: value.to_owned() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks and wraps; the only way to make one.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
                let value = value.into();
                check_name($kind, &value)?;
                Ok(Self(value))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" })
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(/// A place that fails as a whole.
    SiteName, "site");
name!(/// A machine with an agent; the name in its certificate.
    HostName, "host");
name!(/// What fails over together.
    GroupName, "group");
name!(/// One alternative that can hold a group's primary role.
    MemberName, "member");
name!(/// What a host is to its group: `database`, `appliance`, `pom-aux`.
    HostRole, "host role");
name!(/// Something of a group that can be probed.
    ComponentName, "component");
name!(/// A written procedure.
    RunbookName, "runbook");
name!(/// Something that hosts are asked again and again.
    SampleName, "sample");

/// Counts the changes of a group's primary: the fencing token. The first definition is epoch 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One execution of a plan: `pom-17`. Numbers grow by one per group and are never used again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    pub group: GroupName,
    pub number: u64,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.group, self.number))
    }
}

/// Why a run's name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a run: a group's name, '-', a number, as in pom-17")]
pub struct InvalidRunId(pub String);

impl FromStr for RunId {
    type Err = InvalidRunId;
    fn from_str(value: &str) -> Result<Self, InvalidRunId> {
        let wrong = || InvalidRunId(value.to_owned());
        let (group, number) = value.rsplit_once('-').ok_or_else(wrong)?;
        Ok(Self { group: GroupName::new(group).map_err(|_| wrong())?, number: number.parse().map_err(|_| wrong())? })
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;
    fn try_from(value: String) -> Result<Self, InvalidRunId> {
        value.parse()
    }
}

impl From<RunId> for String {
    fn from(value: RunId) -> String {
        value.to_string()
    }
}

/// Names a step inside its plan: `p1` (a precheck), `4`, `4.2` (second of a `together` block), `5[edb]` (one turn of a `for`),
/// `4/undo` (its undo). Unique in the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StepId(pub String);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One performance of a step on one host. An agent never performs the same id twice.
/// An operator's or an automatic retry is a new attempt, so a new id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub run: RunId,
    pub step: StepId,
    pub host: HostName,
    /// From 1.
    pub attempt: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}#{}", self.run, self.step, self.host, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_id_keeps_dashes_of_the_group() {
        let id: RunId = "desktone-org1000-12".parse().expect("a run's name");
        assert_eq!(id.group.as_str(), "desktone-org1000");
        assert_eq!(id.number, 12);
        assert_eq!(id.to_string(), "desktone-org1000-12");
    }

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for bad in ["", "-a", "../x", "a b", "a/b", "ä", "DB1", &"x".repeat(64)] {
            assert!(HostName::new(bad).is_err(), "{bad:?}");
        }
    }
}
