//! From the first byte to the login: prelogin, TLS as agreed, LOGIN7, and what the engine makes of it.
//!
//! Apart from the session because nothing here is repeated, and a stranger is on the other side until it ends.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Door;
use super::login::{Login7, LoginError, Version};
use super::packet::{Assembly, Kind, Message as Whole, Outbox, SIZE_BEFORE_LOGIN};
use super::prelogin::{self, Agreement, Prelogin};
use super::token::{self, Change, Done, Status};
use super::wire::{Wire, WireError};
use crate::answer::{LoggedIn, Message, Spid};

/// A session that may begin.
pub struct Arrived {
    pub spid: Spid,
    pub database: String,
    pub version: Version,
    pub packet_size: usize,
    pub cut: CancellationToken,
    /// It counts as long as this is held.
    pub seat: OwnedSemaphorePermit,
}

/// Why none begins.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error("the client spoke before its turn")]
    OutOfTurn,
    #[error("client and server cannot agree on encryption")]
    Encryption,
    #[error("the login was refused")]
    Refused,
    #[error("the client was sent elsewhere")]
    Routed,
    #[error("the login did not end in time")]
    TooLate,
    #[error("the instance stops")]
    Stopped,
    #[error("the engine failed in the login")]
    Engine,
}

/// A login needs no more, even with the longest of names.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// What was said before the engine was asked.
pub struct Greeted {
    login: Login7,
    encrypted: bool,
}

/// Up to LOGIN7; may be dropped at any await, because the engine knows nothing of it.
pub async fn greet<S>(door: &Door, wire: &mut Wire<S>) -> Result<Greeted, ArrivalError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const TLS_HANDSHAKE: u8 = 0x16;
    let mut assembly = Assembly::new(MESSAGE_BYTES_MAX);
    let strict = match (wire.first_byte().await?, &door.tls) {
        (TLS_HANDSHAKE, Some(tls)) => {
            wire.encrypt(tls.strict.clone()).await?;
            true
        }
        _ => false,
    };
    let mut first = message(wire, &mut assembly).await?;
    let mut agreement = Agreement::Plain;
    if first.kind == Kind::Prelogin {
        let prelogin = Prelogin::decode(&first.body).map_err(WireError::from)?;
        let (byte, agreed) = prelogin::agree(door.encryption, prelogin.encryption);
        // Inside TLS the byte means nothing.
        agreement = if strict { Agreement::Plain } else { agreed };
        let mut outbox = Outbox::new(Kind::Reply, SIZE_BEFORE_LOGIN);
        outbox.body = prelogin::reply(byte, prelogin.asks_mars);
        wire.write(&outbox.end()).await?;
        match (agreement, &door.tls) {
            (Agreement::Plain, _) => {}
            (Agreement::LoginOnly | Agreement::Everything, Some(tls)) => {
                wire.encrypt_wrapped(tls.wrapped.clone()).await?;
            }
            (Agreement::Refused, _) | (_, None) => return Err(ArrivalError::Encryption),
        }
        first = message(wire, &mut assembly).await?;
    } else if door.encryption == prelogin::Encryption::Forced && !strict {
        return Err(ArrivalError::Encryption);
    }
    if first.kind != Kind::Login {
        return Err(ArrivalError::OutOfTurn);
    }
    let login = Login7::decode(&first.body)?;
    if agreement == Agreement::LoginOnly {
        wire.decrypt();
    }
    Ok(Greeted { login, encrypted: strict || agreement == Agreement::Everything })
}

async fn message<S>(wire: &mut Wire<S>, assembly: &mut Assembly) -> Result<Whole, WireError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let packet = wire.packet().await?;
        if let Some(message) = assembly.add(packet)? {
            return Ok(message);
        }
    }
}

/// Asks the engine, and tells the client. Not to be dropped: the engine may have made a session.
pub async fn log_in<S>(door: &Door, wire: &mut Wire<S>, greeted: Greeted) -> Result<Arrived, ArrivalError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Greeted { login, encrypted } = greeted;
    if login.integrated {
        let text =
            "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.";
        return refuse(door, wire, &[error(18452, 14, text)]).await;
    }
    let Ok(seat) = door.sessions.clone().try_acquire_owned() else {
        let text = "Could not connect because the maximum number of user connections has already been reached.";
        return refuse(door, wire, &[error(17809, 20, text)]).await;
    };
    match ask(door, wire, &login, encrypted).await? {
        LoggedIn::Refused(messages) => refuse(door, wire, &messages).await,
        LoggedIn::Routed { host, port } => {
            let mut outbox = Outbox::new(Kind::Reply, SIZE_BEFORE_LOGIN);
            token::put_login_acknowledged(&mut outbox.body, login.version);
            token::put_change(&mut outbox.body, Change::Routing { host: &host, port });
            token::put_done(&mut outbox.body, Done::Statement, Status::default());
            wire.write(&outbox.end()).await?;
            Err(ArrivalError::Routed)
        }
        LoggedIn::Welcome { spid, database, messages, cut } => {
            let arrived = Arrived { spid, database, version: login.version, packet_size: login.packet_size, cut, seat };
            if let Err(error) = wire.write(&welcome(door, &arrived, &messages)).await {
                door.server.log_out(spid).await;
                return Err(error.into());
            }
            Ok(arrived)
        }
    }
}

/// The engine's word on a login; a client that does not wait for it leaves no session behind.
async fn ask<S>(door: &Door, wire: &mut Wire<S>, login: &Login7, encrypted: bool) -> Result<LoggedIn, ArrivalError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut asked = tokio::spawn({
        let (server, login) = (door.server.clone(), login.login(encrypted));
        async move { server.log_in(login).await }
    });
    let why = tokio::select! {
        biased;
        answer = &mut asked => return answer.map_err(|_| ArrivalError::Engine),
        () = door.shutdown.cancelled() => ArrivalError::Stopped,
        () = tokio::time::sleep(door.login_deadline) => ArrivalError::TooLate,
        packet = wire.packet() => match packet {
            Ok(_) => ArrivalError::OutOfTurn,
            Err(error) => error.into(),
        },
    };
    let (server, shutdown) = (door.server.clone(), door.shutdown.clone());
    door.tasks.spawn(async move {
        let answer = shutdown.run_until_cancelled(asked).await;
        if let Some(Ok(LoggedIn::Welcome { spid, .. })) = answer {
            debug!(spid, "nobody waited for this login");
            server.log_out(spid).await;
        }
    });
    Err(why)
}

fn welcome(door: &Door, arrived: &Arrived, messages: &[Message]) -> bytes::BytesMut {
    let mut outbox = Outbox::new(Kind::Reply, SIZE_BEFORE_LOGIN);
    outbox.set_spid(arrived.spid);
    let out = &mut outbox.body;
    token::put_change(out, Change::Database { new: &arrived.database, old: "master" });
    token::put_change(out, Change::Collation);
    token::put_change(out, Change::Language);
    for message in messages {
        token::put_message(out, door.server.name(), message);
    }
    token::put_login_acknowledged(out, arrived.version);
    token::put_change(out, Change::PacketSize { new: arrived.packet_size, old: SIZE_BEFORE_LOGIN });
    token::put_done(out, Done::Statement, Status::default());
    outbox.end()
}

async fn refuse<S>(door: &Door, wire: &mut Wire<S>, messages: &[Message]) -> Result<Arrived, ArrivalError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut outbox = Outbox::new(Kind::Reply, SIZE_BEFORE_LOGIN);
    for message in messages {
        token::put_message(&mut outbox.body, door.server.name(), message);
    }
    token::put_done(&mut outbox.body, Done::Statement, Status { failed: true, ..Status::default() });
    wire.write(&outbox.end()).await?;
    Err(ArrivalError::Refused)
}

fn error(number: i32, class: u8, text: &str) -> Message {
    Message { number, state: 1, class, text: text.to_owned(), procedure: String::new(), line: 1 }
}
