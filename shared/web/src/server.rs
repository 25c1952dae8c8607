//! HTTP/1.1 within bounds: how many callers at once, how long each may take, how much it may say.
//!
//! Apart because these pages stand on a port without a password, beside work that must not be starved. It must never read a
//! request's body, and never hold a caller who says nothing.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use baton_platform::{dial::BoxedIo, listen::Listen};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Standings,
    answer::{answer, refusal},
};

/// Of one caller and of all.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Callers at once; more wait in the kernel's queue until one has ended. Many times what load balancers open (one for each of
    /// theirs), and few enough for the process's file descriptors.
    pub connections_max: usize,
    /// From the connection, or from the answer before, to the end of a request's headers: the end of who trickles, and of who keeps
    /// a connection and asks no more. Load balancers that keep one ask every few seconds.
    pub headers_within: Duration,
    /// For an answer to be known; then it is 503.
    pub answer_within: Duration,
    /// A connection is closed after the request that is under way then. Nobody keeps a place for ever by asking.
    pub connection_life: Duration,
    /// For what is under way when a connection's life or the process ends.
    pub close_within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 256,
            headers_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(2),
            connection_life: Duration::from_secs(60),
            close_within: Duration::from_secs(2),
        }
    }
}

/// A request line and its headers, at most: hyper's own least.
const HEAD_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;
/// After an error of the listener; without it a shortage of descriptors would make the loop spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the token is cancelled and what was under way has been answered.
pub async fn serve(listener: impl Listen, standings: Arc<dyn Standings>, stop: CancellationToken) {
    serve_within(Bounds::default(), listener, standings, stop).await;
}

/// With other bounds.
pub async fn serve_within(
    bounds: Bounds,
    mut listener: impl Listen,
    standings: Arc<dyn Standings>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let callers = TaskTracker::new();
    loop {
        // The place first: who has none is not even accepted.
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = async {
                let place = places.clone().acquire_owned().await.expect("this semaphore is never closed");
                listener.accept().await.map(|(io, peer)| (place, io, peer))
            } => accepted,
        };
        let (place, io, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for HTTP");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let (standings, stop) = (standings.clone(), stop.clone());
        callers.spawn(async move {
            let _place = place;
            if let Err(error) = converse(bounds, io, standings, stop).await {
                tracing::debug!(%peer, %error, "an HTTP connection ended");
            }
        });
    }
    drop(listener);
    callers.close();
    callers.wait().await;
}

/// All requests of one caller.
async fn converse(
    bounds: Bounds,
    io: BoxedIo,
    standings: Arc<dyn Standings>,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let standings = standings.clone();
        async move { Ok::<_, Infallible>(respond(bounds, &*standings, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.headers_within)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(bounds.connection_life) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Who does not take its answer is left without.
    timeout(bounds.close_within, connection).await.unwrap_or(Ok(()))
}

async fn respond(bounds: Bounds, standings: &dyn Standings, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let asked = answer(standings, request.method(), request.uri().path());
    let answer = timeout(bounds.answer_within, asked)
        .await
        .unwrap_or_else(|_| refusal(StatusCode::SERVICE_UNAVAILABLE, "no answer is known in time"));
    let mut body = answer.document.to_string();
    body.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    response
}
