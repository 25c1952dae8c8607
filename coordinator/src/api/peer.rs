//! What other coordinators ask beside the log.

use std::sync::Arc;

use baton_model::time::Span;
use baton_planner::bind::ENDPOINTS_MAX;
use baton_platform::{clock::Clock, identity::require_coordinator};
use baton_proto::v1::{
    ReachedReply, ReachedRequest, TryConnectionsReply, TryConnectionsRequest, coordinators_server::Coordinators,
};
use tonic::{Request, Response, Status};

use crate::{api::sighting, probes::Probes, sessions::Sessions};

pub struct PeerApi {
    pub sessions: Sessions,
    pub clock: Arc<dyn Clock>,
    pub probes: Probes,
}

#[tonic::async_trait]
impl Coordinators for PeerApi {
    async fn reached(&self, request: Request<ReachedRequest>) -> Result<Response<ReachedReply>, Status> {
        require_coordinator(&request)?;
        let hosts = self.sessions.hosts().iter().map(ToString::to_string).collect();
        Ok(Response::new(ReachedReply {
            hosts,
            now_unix_ms: self.clock.now_unix_ms(),
            seen: (self.sessions.seen().iter())
                .map(|(host, seen)| (host.to_string(), baton_wire::assignment::seen(seen).into()))
                .collect(),
            settled: self.sessions.is_settled(),
        }))
    }

    async fn try_connections(
        &self,
        request: Request<TryConnectionsRequest>,
    ) -> Result<Response<TryConnectionsReply>, Status> {
        require_coordinator(&request)?;
        let request = request.into_inner();
        if request.endpoints.len() > ENDPOINTS_MAX {
            return Err(Status::invalid_argument(format!("at most {ENDPOINTS_MAX} endpoints can be tried at once")));
        }
        let seen = self.probes.try_all(request.endpoints, Span(request.timeout_ms)).await;
        let tried = seen.into_iter().map(sighting::to_wire).collect();
        Ok(Response::new(TryConnectionsReply { tried }))
    }
}
