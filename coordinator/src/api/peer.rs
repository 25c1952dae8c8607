//! What other coordinators ask beside the log.

use std::sync::Arc;

use baton_platform::{clock::Clock, identity::require_coordinator};
use baton_proto::v1::{ReachedReply, ReachedRequest, coordinators_server::Coordinators};
use tonic::{Request, Response, Status};

use crate::sessions::Sessions;

pub struct PeerApi {
    pub sessions: Sessions,
    pub clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl Coordinators for PeerApi {
    async fn reached(&self, request: Request<ReachedRequest>) -> Result<Response<ReachedReply>, Status> {
        require_coordinator(&request)?;
        let hosts = self.sessions.hosts().iter().map(ToString::to_string).collect();
        Ok(Response::new(ReachedReply { hosts, now_unix_ms: self.clock.now_unix_ms() }))
    }
}
