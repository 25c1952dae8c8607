//! A group: what fails over together, and the rules about it. Decoded and valid; nothing is left to check but names of runbooks.
//!
//! Names and addresses of a customer's hosts are here only, so that a product's runbooks are used unchanged by everyone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{ComponentName, GroupName, HostName, HostRole, MemberName, RunbookName, SampleName, SiteName};

mod automatic;
mod component;
mod lease;
mod sample;
mod window;

pub use automatic::{Automatic, AutomaticFile, Condition, Mode, Policy};
pub use component::{COMPONENTS_MAX, Component, ComponentProbe, ServiceProbe, jitter};
pub use lease::{FIRST_WORD, LASTS_MAX, LASTS_MIN, Lease, least};
pub use sample::{SAMPLE_BYTES_MAX, SAMPLED_MAX, Sample};
pub use window::{Day, TimeOfDay, TimeZoneName, Window};

/// A group file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group's name.
    #[serde(rename = "group")]
    pub name: GroupName,
    #[serde(default)]
    pub description: String,
    /// The product whose runbooks it uses, as in `horizon-daas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The alternatives that can hold the primary role; at least one.
    pub members: BTreeMap<MemberName, Member>,
    /// Who holds the role when the group is first defined. Afterwards the replicated state says.
    pub primary: MemberName,
    /// Hosts outside any member, by what they are to the group.
    #[serde(default)]
    pub roles: BTreeMap<HostRole, Hosts>,
    /// Every host of the group.
    pub hosts: BTreeMap<HostName, Host>,
    /// Variables for runbooks, before their own defaults.
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
    /// Database connections by name: [`crate::action::sql::Connection`], strings templated over `host`, `vars`, `group`, `old`, `new`.
    #[serde(default)]
    pub connections: BTreeMap<String, Value>,
    /// What can be probed.
    #[serde(default)]
    pub components: BTreeMap<ComponentName, Component>,
    /// What hosts are asked while they live, for the day on which they cannot be asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: BTreeMap<SampleName, Sample>,
    /// Maintenance windows by name.
    #[serde(default)]
    pub windows: BTreeMap<String, Window>,
    /// The group's runbooks: a name of its own for each, and the file, relative to the group's file.
    #[serde(default)]
    pub runbooks: BTreeMap<RunbookName, String>,
    /// Failover without a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
    /// The primary stops its exclusive components when it has not been confirmed for this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

/// One alternative that can hold the group's primary role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The place it stands in. Without it: its hosts' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// What each of its hosts is: `database: db1` or `database: [db1, db2]`.
    pub hosts: BTreeMap<HostRole, Hosts>,
    /// Variables that runbooks see as `old.vars` and `new.vars`.
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
}

/// A machine with an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The place it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// What others reach it by: an address or a name.
    pub address: String,
    /// Variables that runbooks see as `host.vars`.
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
}

/// One host or several, in the order they are written. Serialized as a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany", into = "Vec<HostName>")]
#[schemars(with = "OneOrMany")]
pub struct Hosts(pub Vec<HostName>);

/// How [`Hosts`] may be written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(HostName),
    Many(Vec<HostName>),
}

impl From<OneOrMany> for Hosts {
    fn from(written: OneOrMany) -> Self {
        match written {
            OneOrMany::One(host) => Self(vec![host]),
            OneOrMany::Many(hosts) => Self(hosts),
        }
    }
}

impl From<Hosts> for Vec<HostName> {
    fn from(hosts: Hosts) -> Self {
        hosts.0
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(HostName::as_str).collect();
        f.pad(&names.join(", "))
    }
}

impl Group {
    /// The member's hosts of that role, in the order they are written; none where the member or the role is unknown.
    pub fn hosts_of(&self, member: &MemberName, role: &HostRole) -> &[HostName] {
        self.members.get(member).and_then(|member| member.hosts.get(role)).map_or(&[], |hosts| &hosts.0)
    }

    /// The shared role's hosts or, where it is not shared, every member's hosts of that role, each once.
    pub fn hosts_with_role(&self, role: &HostRole) -> Vec<&HostName> {
        let shared = self.roles.get(role).into_iter();
        let of_members = self.members.values().filter_map(|member| member.hosts.get(role));
        let mut seen = BTreeSet::new();
        shared.chain(of_members).flat_map(|hosts| &hosts.0).filter(|host| seen.insert(*host)).collect()
    }

    /// Every host of the group.
    pub fn all_hosts(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.keys()
    }

    /// Every role that a shared list or a member names.
    pub fn all_roles(&self) -> BTreeSet<&HostRole> {
        self.roles.keys().chain(self.member_roles()).collect()
    }

    /// Every role that some member names: what `old.`, `new.` and `others.` can select.
    pub fn member_roles(&self) -> impl Iterator<Item = &HostRole> {
        self.members.values().flat_map(|member| member.hosts.keys())
    }

    /// The member that a host belongs to, if it is not shared.
    pub fn member_of(&self, host: &HostName) -> Option<&MemberName> {
        let holds = |member: &Member| member.hosts.values().any(|hosts| hosts.0.contains(host));
        self.members.iter().find(|(_, member)| holds(member)).map(|(name, _)| name)
    }

    /// The place of a member: its own word, else its first host's.
    pub fn site_of(&self, member: &MemberName) -> Option<&SiteName> {
        let member = self.members.get(member)?;
        let of_hosts =
            || member.hosts.values().flat_map(|hosts| &hosts.0).find_map(|host| self.hosts.get(host)?.site.as_ref());
        member.site.as_ref().or_else(of_hosts)
    }
}
