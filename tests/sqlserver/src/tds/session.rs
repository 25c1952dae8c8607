//! A session: one request after the other, until the client goes, the engine cuts it, or the instance stops.
//!
//! Apart because here the three sides meet: the client's packets, the engine's answers, and the tokens that end it all.
//! A request that runs is never dropped half-way: whatever becomes of the connection, the engine is waited for before the
//! session is logged out.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, error};

use super::arrival::{self, ArrivalError, Arrived};
use super::login::Version;
use super::packet::{Assembly, Kind, Message as Whole, Outbox, Packet};
use super::parameter::ParameterError;
use super::prepared::{Meaning, Prepared};
use super::request::{self, Call, Transaction};
use super::response::Response;
use super::token::{self, Change, Done, Status};
use super::wire::{Wire, WireError};
use super::{Admission, Door};
use crate::answer::{Answer, Message, Request, Spid};

/// How long a client may take to hear the last words.
const FAREWELL: Duration = Duration::from_secs(2);
/// How many answers wait for a slow client before the engine does.
const ANSWERS_MAX: usize = 64;

/// A connection from its first byte to its last.
pub async fn hold<S>(door: Arc<Door>, socket: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut admission = door.admission.clone();
    tokio::select! {
        biased;
        () = door.shutdown.cancelled() => return,
        // Where nobody can change it any more, it is as it was.
        _ = admission.wait_for(|admission| *admission != Admission::Silent) => {}
    }
    let mut wire = Wire::new(socket);
    let greeted = tokio::select! {
        biased;
        () = door.shutdown.cancelled() => Err(ArrivalError::Stopped),
        greeted = tokio::time::timeout(door.login_deadline, arrival::greet(&door, &mut wire)) =>
            greeted.unwrap_or(Err(ArrivalError::TooLate)),
    };
    let arrived = match greeted {
        Ok(greeted) => arrival::log_in(&door, &mut wire, greeted).await,
        Err(error) => Err(error),
    };
    match arrived {
        Ok(arrived) => Session::new(door, wire, arrived).live().await,
        Err(error) => {
            debug!(%error, "no session");
            say_farewell(&door, wire).await;
        }
    }
}

async fn say_farewell<S>(door: &Door, wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        () = door.shutdown.cancelled() => {}
        _ = tokio::time::timeout(FAREWELL, wire.finish()) => {}
    }
}

/// How a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// By the engine or with the instance, while nothing was under way.
    #[error("cut")]
    Cut,
    /// In the middle of an answer, because the engine wants it so.
    #[error("broken off in the middle of an answer")]
    Broken,
    #[error("an error ended it")]
    Severe,
    #[error("the client sent what has no place in a session")]
    OutOfTurn,
}

struct Session<S> {
    door: Arc<Door>,
    wire: Wire<S>,
    assembly: Assembly,
    /// Came while a request ran, and is for the next.
    early: Option<Packet>,
    outbox: Outbox,
    spid: Spid,
    version: Version,
    login_database: String,
    database: String,
    cut: CancellationToken,
    prepared: Prepared,
    transaction: u64,
    transactions: u64,
    /// What the engine still does for a session whose connection is over.
    unfinished: Option<JoinHandle<()>>,
    seat: OwnedSemaphorePermit,
}

impl<S> Session<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn new(door: Arc<Door>, wire: Wire<S>, arrived: Arrived) -> Self {
        let mut outbox = Outbox::new(Kind::Reply, arrived.packet_size);
        outbox.set_spid(arrived.spid);
        Self {
            assembly: Assembly::new(door.message_bytes_max),
            door,
            wire,
            early: None,
            outbox,
            spid: arrived.spid,
            version: arrived.version,
            login_database: arrived.database.clone(),
            database: arrived.database,
            cut: arrived.cut,
            prepared: Prepared::default(),
            transaction: 0,
            transactions: 0,
            unfinished: None,
            seat: arrived.seat,
        }
    }

    async fn live(mut self) {
        debug!(spid = self.spid, "session begins");
        let end = loop {
            if let Err(end) = self.serve_one().await {
                break end;
            }
        };
        debug!(spid = self.spid, %end, "session ends");
        let Self { door, wire, spid, unfinished, seat, .. } = self;
        let farewell = async {
            match end {
                // Gone without a word.
                End::Broken | End::Wire(WireError::Closed | WireError::Io(_)) => drop(wire),
                _ => say_farewell(&door, wire).await,
            }
        };
        // The session is over when the engine says so, not when the client has heard it.
        let ending = async {
            if let Some(unfinished) = unfinished
                && let Err(panic) = unfinished.await
            {
                error!(spid, %panic, "the engine failed");
            }
            door.server.log_out(spid).await;
            drop(seat);
        };
        tokio::join!(farewell, ending);
    }

    async fn serve_one(&mut self) -> Result<(), End> {
        let message = self.message().await?;
        if message.reset {
            self.reset().await;
        }
        match message.kind {
            Kind::Batch => match request::batch(&message.body) {
                Ok(text) => self.run(Request::Batch(text), Asked::Batch).await.map(|_| ()),
                Err(malformed) => self.refuse(&protocol_error(malformed.to_string())).await,
            },
            Kind::Rpc => match request::calls(&message.body) {
                Ok(calls) => self.call(calls).await,
                Err(error @ ParameterError::UnknownType { .. }) => {
                    self.refuse(&Message { number: 8009, ..protocol_error(error.to_string()) }).await
                }
                Err(ParameterError::Malformed(malformed)) => self.refuse(&protocol_error(malformed.to_string())).await,
            },
            Kind::TransactionManager => match request::transaction(&message.body) {
                Ok(transaction) => self.transact(transaction).await,
                Err(malformed) => self.refuse(&protocol_error(malformed.to_string())).await,
            },
            Kind::Attention => {
                let status = Status { attention: true, ..Status::default() };
                token::put_done(&mut self.outbox.body, Done::Statement, status);
                self.end_message().await
            }
            Kind::BulkLoad => self.refuse(&simulator_error("bulk load is not simulated")).await,
            Kind::Login | Kind::Prelogin | Kind::Sspi | Kind::FederatedToken | Kind::Reply => Err(End::OutOfTurn),
        }
    }

    /// The client's next message.
    async fn message(&mut self) -> Result<Whole, End> {
        loop {
            let packet = match self.early.take() {
                Some(packet) => packet,
                None => tokio::select! {
                    biased;
                    () = self.cut.cancelled() => return Err(End::Cut),
                    () = self.door.shutdown.cancelled() => return Err(End::Cut),
                    packet = self.wire.packet() => packet?,
                },
            };
            if let Some(message) = self.assembly.add(packet).map_err(WireError::from)? {
                return Ok(message);
            }
        }
    }

    async fn reset(&mut self) {
        self.door.server.reset(self.spid).await;
        self.prepared = Prepared::default();
        self.transaction = 0;
        let out = &mut self.outbox.body;
        token::put_change(out, Change::Reset);
        if self.database != self.login_database {
            token::put_change(out, Change::Database { new: &self.login_database, old: &self.database });
            self.database.clone_from(&self.login_database);
        }
    }

    async fn call(&mut self, calls: Vec<Call>) -> Result<(), End> {
        let last = calls.len().saturating_sub(1);
        if calls.is_empty() {
            return self.refuse(&protocol_error("a procedure call that calls nothing".to_owned())).await;
        }
        for (index, call) in calls.into_iter().enumerate() {
            let more = index < last;
            let told = match self.prepared.meaning(call) {
                Meaning::Ask { request, tell } => match self.run(request, Asked::Procedure { tell, more }).await? {
                    Ran::ToItsEnd => continue,
                    // The client wants none of the others either.
                    Ran::Cancelled => break,
                },
                Meaning::Tell(handle) => Answer::Output(handle),
                Meaning::Reset => {
                    self.reset().await;
                    Answer::Returned(0)
                }
                Meaning::Nothing => Answer::Returned(0),
                Meaning::Refused(message) => Answer::Said(message),
            };
            let mut response = Response::new(self.door.server.name(), self.version, true, &mut self.database);
            let out = &mut self.outbox.body;
            response.put(out, told).and_then(|()| response.finish(out, more)).expect("it is an integer or a message");
        }
        self.end_message().await
    }

    async fn transact(&mut self, transaction: Transaction) -> Result<(), End> {
        self.run(Request::Batch(transaction.statement()), Asked::Transaction(transaction)).await.map(|_| ())
    }

    /// What changed when the client's transaction was done as it asked.
    fn put_transaction(&mut self, asked: &Transaction) {
        let out = &mut self.outbox.body;
        match asked {
            Transaction::Commit { .. } => token::put_change(out, Change::Committed(self.transaction)),
            Transaction::Rollback { .. } => token::put_change(out, Change::RolledBack(self.transaction)),
            Transaction::Begin(_) | Transaction::Save(_) => {}
        }
        match asked {
            Transaction::Begin(_) | Transaction::Commit { next: true } | Transaction::Rollback { next: true } => {
                self.transactions += 1;
                // Two sessions never have the same one.
                self.transaction = u64::from(self.spid) << 32 | self.transactions;
                token::put_change(out, Change::Began(self.transaction));
            }
            Transaction::Commit { .. } | Transaction::Rollback { .. } => self.transaction = 0,
            Transaction::Save(_) => {}
        }
    }

    /// Has the engine do it, and tells the client all about it.
    async fn run(&mut self, request: Request, asked: Asked) -> Result<Ran, End> {
        let (answers, mut answered) = mpsc::channel(ANSWERS_MAX);
        let cancelled = CancellationToken::new();
        let work = tokio::spawn({
            let (server, spid, cancelled) = (self.door.server.clone(), self.spid, cancelled.clone());
            let span = Span::current();
            tracing::Instrument::instrument(
                async move { server.execute(spid, request, answers, cancelled).await },
                span,
            )
        });
        let in_procedure = matches!(asked, Asked::Procedure { .. });
        let server = Arc::clone(&self.door.server);
        let mut database = std::mem::take(&mut self.database);
        let mut response = Response::new(server.name(), self.version, in_procedure, &mut database);
        if matches!(asked, Asked::Transaction(_)) {
            response.silence();
        }
        let pumped = self.pump(&mut answered, &cancelled, &mut response).await;
        if let Err(end) = pumped {
            // The engine sees that nobody listens any more.
            drop(answered);
            self.unfinished = Some(work);
            if self.door.shutdown.is_cancelled() {
                cancelled.cancel();
            }
            return Err(end);
        }
        if let Err(panic) = work.await {
            error!(spid = self.spid, %panic, "the engine failed");
            let message = Message { class: 20, ..simulator_error("the simulator's engine failed; its log says where") };
            self.put(&mut response, Answer::Said(message));
        }
        let severe = response.is_severe();
        let ran = if response.is_cancelled() { Ran::Cancelled } else { Ran::ToItsEnd };
        let more = match asked {
            Asked::Procedure { tell, more } => {
                if let Some(handle) = tell {
                    self.put(&mut response, Answer::Output(handle));
                }
                more
            }
            Asked::Transaction(transaction) => {
                if !response.has_failed() && !response.is_cancelled() {
                    self.put_transaction(&transaction);
                }
                false
            }
            Asked::Batch => false,
        };
        let finished = response.finish(&mut self.outbox.body, more);
        self.database = database;
        if let Err(unspeakable) = finished {
            error!(spid = self.spid, %unspeakable, "the engine's answer cannot be sent");
            self.refuse(&simulator_error(&unspeakable.to_string())).await?;
            return Err(End::Severe);
        }
        if !in_procedure || severe {
            self.end_message().await?;
        }
        if severe { Err(End::Severe) } else { Ok(ran) }
    }

    /// Passes answers on until there are no more, and listens for an attention meanwhile.
    async fn pump(
        &mut self,
        answered: &mut mpsc::Receiver<Answer>,
        cancelled: &CancellationToken,
        response: &mut Response<'_>,
    ) -> Result<(), End> {
        let mut listens = true;
        loop {
            let answer = tokio::select! {
                biased;
                () = self.cut.cancelled() => return self.kill().await,
                () = self.door.shutdown.cancelled() => return self.kill().await,
                packet = hear(&mut self.wire, listens) => {
                    let packet = packet?;
                    // What comes after it is for later: no client sends two.
                    listens = false;
                    if packet.kind == Kind::Attention {
                        cancelled.cancel();
                        response.cancel();
                    } else {
                        self.early = Some(packet);
                    }
                    continue;
                }
                answer = answered.recv() => answer,
            };
            match answer {
                None => return Ok(()),
                Some(Answer::Cut) => {
                    let packets = self.outbox.so_far();
                    self.send(packets).await?;
                    return Err(End::Broken);
                }
                Some(answer) => {
                    if !self.put(response, answer) {
                        cancelled.cancel();
                        response.silence();
                    }
                    // Nothing is kept back while the engine is busy with something that takes its time.
                    let packets = if answered.is_empty() { self.outbox.so_far() } else { self.outbox.full() };
                    self.send(packets).await?;
                }
            }
        }
    }

    /// False where the answer makes no sense; the client is told so.
    fn put(&mut self, response: &mut Response<'_>, answer: Answer) -> bool {
        let out = &mut self.outbox.body;
        let Err(unspeakable) = response.put(out, answer) else { return true };
        error!(spid = self.spid, %unspeakable, "the engine's answer cannot be sent");
        response
            .put(out, Answer::Said(simulator_error(&unspeakable.to_string())))
            .expect("a message can always be sent");
        false
    }

    /// The session was killed while the client waits for an answer.
    async fn kill(&mut self) -> Result<(), End> {
        let message = Message {
            number: 596,
            class: 21,
            ..protocol_error("Cannot continue the execution because the session is in the kill state.".to_owned())
        };
        let out = &mut self.outbox.body;
        token::put_message(out, self.door.server.name(), &message);
        token::put_done(out, Done::Statement, Status { failed: true, severe: true, ..Status::default() });
        let packets = self.outbox.end();
        // A client that does not read cannot hold up its own end.
        match tokio::time::timeout(FAREWELL, self.wire.write(&packets)).await {
            Ok(Ok(())) => Err(End::Severe),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(End::Broken),
        }
    }

    /// A request that never reached the engine.
    async fn refuse(&mut self, message: &Message) -> Result<(), End> {
        let out = &mut self.outbox.body;
        token::put_message(out, self.door.server.name(), message);
        token::put_done(out, Done::Statement, Status { failed: true, ..Status::default() });
        self.end_message().await
    }

    async fn end_message(&mut self) -> Result<(), End> {
        let packets = self.outbox.end();
        self.send(packets).await
    }

    async fn send(&mut self, packets: BytesMut) -> Result<(), End> {
        if packets.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            sent = self.wire.write(&packets) => Ok(sent?),
            // Half a packet may be out: nothing more can be said.
            () = self.cut.cancelled() => Err(End::Broken),
            () = self.door.shutdown.cancelled() => Err(End::Broken),
        }
    }
}

/// A packet that comes while the engine works; without one to listen for, only the connection's end.
async fn hear<S>(wire: &mut Wire<S>, listens: bool) -> Result<Packet, WireError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if listens { wire.packet().await } else { Err(wire.ended().await) }
}

/// How far a request came.
enum Ran {
    ToItsEnd,
    Cancelled,
}

/// What kind of request the engine works on.
enum Asked {
    Batch,
    Procedure { tell: Option<crate::answer::Parameter>, more: bool },
    Transaction(Transaction),
}

fn protocol_error(text: String) -> Message {
    Message { number: 4002, state: 1, class: 16, text, procedure: String::new(), line: 1 }
}

/// What no SQL Server would say: the simulator's own shortcomings.
fn simulator_error(text: &str) -> Message {
    Message { number: 50000, state: 1, class: 16, text: text.to_owned(), procedure: String::new(), line: 1 }
}
