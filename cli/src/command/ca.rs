//! `baton ca`: the private certificate authority of an installation. Needs no cluster.
//!
//! Apart from everything that connects: whoever holds the authority's key can be anybody, so it is kept where no
//! coordinator runs.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use baton_platform::{
    ca::{
        CA_KEY_FILE, CA_VALIDITY_DEFAULT, CERTIFICATE_VALIDITY_DEFAULT, CertificateAuthority, CreateOptions,
        IssueOptions,
    },
    clock::SystemClock,
    identity::{Identity, Name, Role},
    tls::Material,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::Session;
use crate::{
    exit::Exit,
    failure::{Failure, code},
    output::time,
};
use baton_model::time::Moment;

const DAY: Duration = Duration::from_secs(86_400);

/// The certificate authority of an installation; needs no cluster
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Ca {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new authority: ca.pem, which everybody trusts, and ca-key.pem, which nobody else may have
    Init {
        /// Where to
        #[arg(default_value = "ca")]
        directory: PathBuf,
        /// Shown as the issuer in every certificate
        #[arg(long, default_value = "baton")]
        name: Name,
        /// How long it can sign, in days
        #[arg(long, value_name = "DAYS", default_value_t = CA_VALIDITY_DEFAULT.as_secs() / DAY.as_secs())]
        days: u64,
    },
    #[command(flatten)]
    Make(Making),
    /// Show whose an identity directory is, and how long it is valid; or how long an authority can sign
    Show { directory: PathBuf },
    /// The same as without this word: other messages say "baton ca issue agent"
    #[command(hide = true)]
    Issue {
        #[command(subcommand)]
        making: Making,
    },
}

/// Identities that an authority makes.
#[derive(Debug, Subcommand)]
enum Making {
    /// Make the identity of a coordinator
    Coordinator {
        name: Name,
        /// A DNS name or IP address under which it is called; repeat it for several
        #[arg(long = "address", value_name = "HOST", required = true)]
        addresses: Vec<String>,
        #[command(flatten)]
        issue: Issue,
    },
    /// Make the identity of a host's agent
    Agent {
        host: Name,
        #[command(flatten)]
        issue: Issue,
    },
    /// Make the identity of a person or program that operates
    Operator {
        name: Name,
        #[arg(long, value_enum)]
        role: RoleWord,
        #[command(flatten)]
        issue: Issue,
    },
}

#[derive(Debug, Args)]
struct Issue {
    /// The authority
    #[arg(long, value_name = "DIR", default_value = "ca")]
    ca: PathBuf,
    /// Where to [default: KIND-NAME, as in agent-db1]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long it is valid, in days
    #[arg(long, value_name = "DAYS", default_value_t = CERTIFICATE_VALIDITY_DEFAULT.as_secs() / DAY.as_secs())]
    days: u64,
    /// Renew what is there; running processes take it up by themselves
    #[arg(long)]
    replace: bool,
    /// Sign this certificate request (PEM) of a key that never leaves its host; only its public key is used
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleWord {
    /// Sees everything, changes nothing
    Viewer,
    /// Plans, starts and steers runs
    Operator,
    /// Approves what somebody else started
    Approver,
    /// Defines groups, and changes the cluster
    Admin,
}

impl RoleWord {
    fn role(self) -> Role {
        match self {
            RoleWord::Viewer => Role::Viewer,
            RoleWord::Operator => Role::Operator,
            RoleWord::Approver => Role::Approver,
            RoleWord::Admin => Role::Admin,
        }
    }
}

impl Ca {
    pub fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        perform(&self.verb, session)
    }
}

fn perform(verb: &Verb, session: &Session) -> Result<Exit, Failure> {
    match verb {
        Verb::Init { directory, name, days } => {
            let options = CreateOptions { name: name.clone(), validity: validity(*days) };
            CertificateAuthority::create(directory, &options, &SystemClock::new())?;
            tell(session, &format!("authority {name}"), directory)?;
            session.talk(format!(
                "Keep {} where no coordinator runs, and back it up.",
                directory.join(CA_KEY_FILE).display()
            ))?;
        }
        Verb::Make(making) | Verb::Issue { making } => making.perform(session)?,
        Verb::Show { directory } => show(session, directory)?,
    }
    Ok(Exit::Done)
}

impl Making {
    fn perform(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Making::Coordinator { name, addresses, issue } => {
                issue.perform(session, Identity::Coordinator { name: name.clone() }, addresses)
            }
            Making::Agent { host, issue } => issue.perform(session, Identity::Agent { host: host.clone() }, &[]),
            Making::Operator { name, role, issue } => {
                issue.perform(session, Identity::Operator { name: name.clone(), role: role.role() }, &[])
            }
        }
    }
}

impl Issue {
    fn perform(&self, session: &Session, identity: Identity, addresses: &[String]) -> Result<(), Failure> {
        let authority = CertificateAuthority::open(&self.ca)?;
        let options = IssueOptions { validity: validity(self.days) };
        let out = self.out.clone().unwrap_or_else(|| format!("{}-{}", identity.kind(), identity.name()).into());
        let clock = SystemClock::new();
        let issued = match &self.request {
            None => authority.issue(identity.clone(), addresses, &options, &clock)?,
            Some(path) => {
                let request = std::fs::read_to_string(path).map_err(|error| {
                    let message = format!("cannot read {}: {error}.", path.display());
                    Failure::new(Exit::Usage, code::FILE, message, "Name a certificate request in PEM form.")
                })?;
                authority.issue_for_request(&request, identity.clone(), addresses, &options, &clock)?
            }
        };
        if self.replace {
            issued.replace(&out)?
        } else {
            issued.write(&out)?
        }
        tell(session, &identity.to_string(), &out)
    }
}

fn validity(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(DAY.as_secs()))
}

fn tell(session: &Session, what: &str, directory: &Path) -> Result<(), Failure> {
    let directory = directory.display();
    session.data(&json!({"identity": what, "directory": directory.to_string()}), || format!("{what} in {directory}\n"))
}

fn show(session: &Session, directory: &Path) -> Result<(), Failure> {
    let (identity, not_after_unix_s) = if directory.join(CA_KEY_FILE).exists() {
        ("authority".to_owned(), CertificateAuthority::open(directory)?.not_after_unix_s())
    } else {
        let material = Material::load(directory)?;
        (material.identity().to_string(), material.not_after_unix_s())
    };
    let until = Moment(u64::try_from(not_after_unix_s).unwrap_or_default().saturating_mul(1000));
    let valid_today = std::time::SystemTime::now() < std::time::UNIX_EPOCH + Duration::from_millis(until.0);
    let document = json!({"identity": identity, "valid_until_unix_s": not_after_unix_s, "valid_today": valid_today});
    session.data(&document, || {
        let ended = if valid_today { "" } else { " (it has ended)" };
        format!("{identity}\nvalid until {}{ended}\n", time::stamp(until, &session.look.zone))
    })
}
