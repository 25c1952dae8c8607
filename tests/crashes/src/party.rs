//! Who is killed, and when.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// The coordinator that gives the order.
    Leader,
    /// One of the others.
    Follower,
    /// The agent of the step's host.
    Agent,
    /// The database server that the step is about.
    Database,
    /// The `baton` that has begun the run, and every one that watches it.
    CommandLine,
    /// Every coordinator and every agent.
    Everything,
}

/// When, for each step at its first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// The order is sent; or a person is asked.
    Before,
    /// The agent has on disk that the effect begins.
    During,
    /// The agent knows the outcome, which is about to be on disk and reported; or the person's answer was taken.
    After,
    /// As during; and once more as soon as what was killed is back, or somebody has taken its place.
    Again,
}

impl Party {
    pub const ALL: [Self; 6] =
        [Self::Leader, Self::Follower, Self::Agent, Self::Database, Self::CommandLine, Self::Everything];

    pub fn word(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Agent => "agent",
            Self::Database => "database",
            Self::CommandLine => "command-line",
            Self::Everything => "everything",
        }
    }

    /// Whether an agent may hear no coordinator for longer than it waits: all are dead, or it is killed each time before it has.
    pub fn leaves_agents_alone(self) -> bool {
        matches!(self, Self::Agent | Self::Everything)
    }

    /// Whether agents and databases live on, so that each of them does what it does undisturbed.
    pub fn touches_no_host(self) -> bool {
        matches!(self, Self::Leader | Self::Follower | Self::CommandLine)
    }

    /// Whether it has a part in steps that no agent performs.
    pub fn takes_part_in_questions(self) -> bool {
        !matches!(self, Self::Agent | Self::Database)
    }
}

impl Moment {
    pub const ALL: [Self; 4] = [Self::Before, Self::During, Self::After, Self::Again];

    pub fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
            Self::Again => "again",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Party {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::word).join(", ");
        Self::ALL.into_iter().find(|one| one.word() == text).ok_or_else(|| format!("there are {all}"))
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::word).join(", ");
        Self::ALL.into_iter().find(|one| one.word() == text).ok_or_else(|| format!("there are {all}"))
    }
}
