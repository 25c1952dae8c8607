//! Calls over gRPC that the `baton` command would not make: with another's certificate, or of another's service.

use std::{path::Path, sync::Arc};

use baton_lab::cluster::Cluster;
use baton_platform::{
    dial::TcpDial,
    tls::{ConnectOptions, Connector, ReloadableTls},
};
use baton_proto::v1::{self as pb, operator_client::OperatorClient};
use baton_wire::fault::Redirect;
use tonic::{Status, transport::Channel};

/// A channel to one coordinator, with the certificate in this folder.
pub fn channel(cluster: &Cluster, number: usize, identity: &Path) -> Channel {
    let tls = ReloadableTls::load(identity).expect("an identity");
    let connector = Connector::new(Arc::new(TcpDial), tls, ConnectOptions::default());
    connector.channel(&cluster.coordinator_address(number).into())
}

/// The operators' service of the leader, with the certificate in this folder.
pub fn operator(cluster: &Cluster, identity: &Path) -> OperatorClient<Channel> {
    OperatorClient::new(channel(cluster, cluster.leader().expect("a leader"), identity))
}

/// A refusal as the command would print it.
pub fn told(status: &Status) -> String {
    match (baton_wire::fault::from_status(status), baton_wire::fault::redirect(status)) {
        (Some(fault), _) => fault.to_string(),
        (None, Some(Redirect::To(leader))) => format!("ask {leader}"),
        _ => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// A wish for a plan of the group `shop`.
pub fn wish(runbook: &str, to: &str) -> pb::PlanRequest {
    pb::PlanRequest {
        group: "shop".to_owned(),
        runbook: runbook.to_owned(),
        to: to.to_owned(),
        reason: "a test".to_owned(),
        ..pb::PlanRequest::default()
    }
}
