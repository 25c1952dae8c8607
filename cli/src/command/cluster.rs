//! `baton cluster`: the coordinators themselves.

use baton_model::view::ClusterView;
use baton_proto::v1::ClusterRequest;
use clap::{Args, Subcommand};

use super::Session;
use crate::{exit::Exit, failure::Failure, output::cluster};

/// The coordinators: who they are, who leads
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cluster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the coordinators
    Members,
    /// Hand leadership over; runs go on
    Transfer {
        /// To this one; otherwise to whichever is furthest
        #[arg(long, value_name = "COORDINATOR")]
        to: Option<String>,
    },
}

impl Cluster {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let mut client = session.client()?;
        let view: ClusterView = match &self.verb {
            Verb::Members => client.list("members", "").await?,
            Verb::Transfer { to } => {
                let to = to.clone().unwrap_or_default();
                client.cluster(ClusterRequest { verb: "transfer".to_owned(), to }).await?
            }
        };
        session.data(&view, || cluster::members(&view, &session.look))?;
        Ok(Exit::Done)
    }
}
