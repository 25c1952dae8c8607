//! Who is on the other side of a connection: the `baton://` URI in its certificate.
//!
//! Apart because everything that asks "who did this" must get the one answer that the certificate gives. It must never
//! take a name from a message, and never judge what a role may do: that is the API's work.

mod certificate;
mod name;
mod peer;

use std::fmt;
use std::str::FromStr;

pub(crate) use certificate::validity as certificate_validity;
pub use certificate::{IdentityError, of_certificate};
pub use name::{Name, NameError};
pub use peer::{PeerError, of_extensions, of_request, require_agent, require_coordinator, require_operator};

/// Who a certificate names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A member of the coordinator cluster: `baton://coordinator/NAME`.
    Coordinator {
        /// The name of this coordinator within its cluster.
        name: Name,
    },
    /// The agent of one host: `baton://agent/HOST`.
    Agent {
        /// The host that this agent may speak for, and no other.
        host: Name,
    },
    /// A person or a program that asks for changes: `baton://operator/NAME?role=ROLE`.
    Operator {
        /// Who stands as the author in the record.
        name: Name,
        /// What the certificate allows at most.
        role: Role,
    },
}

/// What an operator's certificate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Plans, starts and steers runs.
    Operator,
    /// Approves what somebody else started.
    Approver,
    /// Defines groups and runbooks, and changes the cluster.
    Admin,
}

/// Text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not one of the three forms.
    #[error(
        "`{text}` is no Baton identity: {reason}. It is baton://coordinator/NAME, baton://agent/HOST or \
         baton://operator/NAME?role=ROLE"
    )]
    Form {
        /// What was found.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name in it breaks the rule for names.
    #[error("`{text}` is no Baton identity: {source}")]
    Name {
        /// What was found.
        text: String,
        /// What is wrong with the name.
        source: NameError,
    },
    /// The role is not one that Baton knows.
    #[error("`{text}` is no Baton role: it is viewer, operator, approver or admin")]
    Role {
        /// What was found.
        text: String,
    },
}

impl Role {
    /// All roles, in the order in which they are listed to people.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Approver, Role::Admin];

    /// The word in the certificate.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Approver => "approver",
            Role::Admin => "admin",
        }
    }
}

impl Identity {
    /// The word for its kind: `coordinator`, `agent` or `operator`.
    pub fn kind(&self) -> &'static str {
        match self {
            Identity::Coordinator { .. } => "coordinator",
            Identity::Agent { .. } => "agent",
            Identity::Operator { .. } => "operator",
        }
    }

    /// The name within its kind.
    pub fn name(&self) -> &Name {
        match self {
            Identity::Coordinator { name } | Identity::Operator { name, .. } => name,
            Identity::Agent { host } => host,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| ParseError::Role { text: text.to_owned() })
    }
}

/// The URI as it stands in the certificate, and in the record of changes.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Coordinator { name } => write!(f, "baton://coordinator/{name}"),
            Identity::Agent { host } => write!(f, "baton://agent/{host}"),
            Identity::Operator { name, role } => write!(f, "baton://operator/{name}?role={role}"),
        }
    }
}

impl FromStr for Identity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = |reason| ParseError::Form { text: text.to_owned(), reason };
        let named =
            |name: &str| name.parse::<Name>().map_err(|source| ParseError::Name { text: text.to_owned(), source });
        let rest = text.strip_prefix("baton://").ok_or_else(|| form("it does not begin with baton://"))?;
        let (kind, rest) = rest.split_once('/').ok_or_else(|| form("it names nobody"))?;
        match (kind, rest.split_once('?')) {
            ("coordinator", None) => Ok(Identity::Coordinator { name: named(rest)? }),
            ("agent", None) => Ok(Identity::Agent { host: named(rest)? }),
            ("operator", Some((name, query))) => {
                let role = query.strip_prefix("role=").ok_or_else(|| form("the role is missing"))?;
                Ok(Identity::Operator { name: named(name)?, role: role.parse()? })
            }
            ("operator", None) => Err(form("the role is missing")),
            ("coordinator" | "agent", Some(_)) => Err(form("only an operator has a role")),
            _ => Err(form("this kind is not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_was_written() {
        for text in [
            "baton://coordinator/c1",
            "baton://agent/pomdb1.example.org",
            "baton://operator/ana?role=viewer",
            "baton://operator/ana?role=operator",
            "baton://operator/ana?role=approver",
            "baton://operator/ana?role=admin",
        ] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_nearly_an_identity_is_refused() {
        for text in [
            "https://agent/db1",
            "baton://agent",
            "baton://agent/",
            "baton://agent/DB1",
            "baton://agent/db1/db2",
            "baton://agent/db1?role=admin",
            "baton://agent/db1#x",
            "baton://operator/ana",
            "baton://operator/ana?role=root",
            "baton://operator/ana?role=admin&role=viewer",
            "baton://operator/ana?roles=admin",
            "baton://robot/r2",
            "BATON://agent/db1",
        ] {
            let error = text.parse::<Identity>().expect_err(text);
            assert!(!error.to_string().is_empty());
        }
    }
}
