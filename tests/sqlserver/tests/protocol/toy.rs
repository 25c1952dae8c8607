//! An engine that understands a handful of words, and remembers what it was asked.
//!
//! Apart from the simulator's own engine, so that the protocol's tests fail for the protocol's faults only. What it does
//! with connections is real: sockets, TLS, sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use baton_sqlserver::answer::{
    Answer, Column, LoggedIn, Login, Message, Parameter, Request, Server, Spid, Type, Value,
};
use baton_sqlserver::tds::{self, Certificate, Encryption, Options};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub const USER: &str = "sa";
pub const PASSWORD: &str = "Geheim-1 ä€";

/// What happened, for tests to look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    LoggedIn(Spid, Login),
    Asked(Spid, Request),
    Cancelled(Spid),
    /// The engine noticed that nobody listens.
    Abandoned(Spid),
    Reset(Spid),
    LoggedOut(Spid),
}

pub struct Toy {
    next: AtomicU16,
    sessions: Mutex<BTreeMap<Spid, CancellationToken>>,
    events: watch::Sender<Vec<Event>>,
    /// Where every login is sent.
    pub route: OnceLock<u16>,
}

impl Toy {
    fn tell(&self, event: Event) {
        self.events.send_modify(|events| events.push(event));
    }

    /// Kills a session, as KILL does.
    pub fn kill(&self, spid: Spid) {
        self.sessions.lock().unwrap()[&spid].cancel();
    }

    pub fn sessions(&self) -> Vec<Spid> {
        self.sessions.lock().unwrap().keys().copied().collect()
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// The batches that were asked, in order.
    pub fn batches(&self) -> Vec<String> {
        let of = |event| match event {
            Event::Asked(_, Request::Batch(text)) => Some(text),
            _ => None,
        };
        self.events().into_iter().filter_map(of).collect()
    }

    /// Waits until something has happened.
    pub async fn until(&self, what: &str, happened: impl Fn(&[Event]) -> bool) {
        let mut events = self.events.subscribe();
        let waited = tokio::time::timeout(DEADLINE, events.wait_for(|events| happened(events))).await;
        assert!(waited.is_ok(), "{what} did not happen; what did: {:#?}", self.events());
    }
}

/// Longer than anything takes, shorter than anybody's patience.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// An instance on a loopback address.
pub struct Instance {
    pub toy: Arc<Toy>,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Instance {
    pub async fn start(encryption: Encryption, certificate: Option<Certificate>) -> Self {
        Self::with(Options { encryption, certificate, ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Self {
        let toy = Arc::new(Toy {
            next: AtomicU16::new(51),
            sessions: Mutex::default(),
            events: watch::Sender::new(Vec::new()),
            route: OnceLock::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = tokio::spawn({
            let (toy, shutdown) = (Arc::clone(&toy) as Arc<dyn Server>, shutdown.clone());
            async move { tds::serve(listener, toy, options, shutdown).await.unwrap() }
        });
        Self { toy, address, shutdown, served }
    }

    /// Ends it, and everything in it.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, &mut self.served).await.expect("the instance stops").unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub fn message(number: i32, class: u8, text: &str) -> Message {
    Message { number, state: 3, class, text: text.into(), procedure: "sp_toy".into(), line: 7 }
}

pub fn column(name: &str, kind: Type) -> Column {
    Column { name: name.into(), kind, nullable: true }
}

/// Every type, with a value and what clients should make of it.
pub fn types() -> Vec<(Column, Value)> {
    vec![
        (column("bit", Type::Bit), Value::Bit(true)),
        (column("tinyint", Type::TinyInt), Value::TinyInt(200)),
        (column("smallint", Type::SmallInt), Value::SmallInt(-300)),
        (column("int", Type::Int), Value::Int(-70_000)),
        (column("bigint", Type::BigInt), Value::BigInt(1 << 40)),
        (column("float", Type::Float), Value::Float(1.5)),
        (column("numeric", Type::Numeric { precision: 25 }), Value::Numeric(-1_234_567_890_123_456_789_012_345)),
        // 2026-11-21 03:50:29.123, in 1/300 seconds.
        (column("datetime", Type::DateTime), Value::DateTime(1_795_233_029_123)),
        (column("nvarchar", Type::NVarChar { length: 40 }), Value::Text("Größe 中 𝄞".into())),
        (column("nvarchar_max", Type::NVarChar { length: 0 }), Value::Text("lang ".repeat(5000))),
        (column("varchar", Type::VarChar { length: 20 }), Value::Text("für 5 €".into())),
        (column("char", Type::Char { length: 5 }), Value::Text("ab".into())),
        (column("varbinary", Type::VarBinary { length: 8 }), Value::Binary(vec![0, 1, 254, 255])),
        (column("varbinary_max", Type::VarBinary { length: 0 }), Value::Binary(vec![7; 20_000])),
        (
            column("guid", Type::UniqueIdentifier),
            Value::Guid(*b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F\x10"),
        ),
    ]
}

#[async_trait::async_trait]
impl Server for Toy {
    fn name(&self) -> &str {
        "TOY"
    }

    async fn log_in(&self, login: Login) -> LoggedIn {
        if login.user != USER || login.password != PASSWORD {
            return LoggedIn::Refused(vec![Message {
                state: 1,
                ..message(18456, 14, &format!("Login failed for user '{}'.", login.user))
            }]);
        }
        if let Some(port) = self.route.get() {
            return LoggedIn::Routed { host: "127.0.0.1".into(), port: *port };
        }
        match login.database.as_str() {
            "gone" => {
                return LoggedIn::Refused(vec![
                    message(4060, 11, "Cannot open database \"gone\" requested by the login. The login failed."),
                    message(18456, 14, "Login failed for user 'sa'."),
                ]);
            }
            "routed" => return LoggedIn::Routed { host: "replica.example".into(), port: 14_331 },
            "never" => std::future::pending::<()>().await,
            _ => {}
        }
        let spid = self.next.fetch_add(1, Ordering::SeqCst);
        let cut = CancellationToken::new();
        self.sessions.lock().unwrap().insert(spid, cut.clone());
        let database = if login.database.is_empty() { "master".to_owned() } else { login.database.clone() };
        self.tell(Event::LoggedIn(spid, login));
        let messages = vec![
            message(5701, 0, &format!("Changed database context to '{database}'.")),
            message(5703, 0, "Changed language setting to us_english."),
        ];
        LoggedIn::Welcome { spid, database, messages, cut }
    }

    async fn execute(&self, spid: Spid, request: Request, answers: mpsc::Sender<Answer>, cancelled: CancellationToken) {
        self.tell(Event::Asked(spid, request.clone()));
        let ended = match request {
            Request::Batch(text) => self.batch(spid, &text, &answers, &cancelled).await,
            Request::Procedure { name, .. } if name == "sp_wait" => {
                cancelled.cancelled().await;
                self.tell(Event::Cancelled(spid));
                Ok(())
            }
            Request::Procedure { name, parameters } => procedure(&name, parameters, &answers).await,
        };
        if ended.is_err() {
            self.tell(Event::Abandoned(spid));
        }
    }

    async fn reset(&self, spid: Spid) {
        self.tell(Event::Reset(spid));
    }

    async fn log_out(&self, spid: Spid) {
        self.sessions.lock().unwrap().remove(&spid);
        self.tell(Event::LoggedOut(spid));
    }
}

type Sent = Result<(), mpsc::error::SendError<Answer>>;

fn done(rows: u64) -> Answer {
    Answer::Done { rows: Some(rows), failed: false }
}

async fn one_value(answers: &mpsc::Sender<Answer>, kind: Type, value: Value) -> Sent {
    answers.send(Answer::Columns(vec![column("v", kind)])).await?;
    answers.send(Answer::Row(vec![value])).await?;
    answers.send(done(1)).await
}

impl Toy {
    async fn batch(
        &self,
        spid: Spid,
        text: &str,
        answers: &mpsc::Sender<Answer>,
        cancelled: &CancellationToken,
    ) -> Sent {
        let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match (word, rest) {
            ("SELECT", number) if number.parse::<i32>().is_ok() => {
                one_value(answers, Type::Int, Value::Int(number.parse().unwrap())).await
            }
            ("SPID", "") => one_value(answers, Type::SmallInt, Value::SmallInt(spid as i16)).await,
            ("TYPES", "") => {
                let (columns, values): (Vec<_>, Vec<_>) = types().into_iter().unzip();
                let nulls = vec![Value::Null; values.len()];
                answers.send(Answer::Columns(columns)).await?;
                answers.send(Answer::Row(values)).await?;
                answers.send(Answer::Row(nulls)).await?;
                answers.send(done(2)).await
            }
            ("ROWS", count) => {
                let count: u64 = count.parse().unwrap();
                let columns = vec![column("n", Type::BigInt), column("t", Type::NVarChar { length: 400 })];
                answers.send(Answer::Columns(columns)).await?;
                for number in 0..count {
                    let row = vec![Value::BigInt(number as i64), Value::Text(format!("{number:0200}"))];
                    answers.send(Answer::Row(row)).await?;
                }
                answers.send(done(count)).await
            }
            ("BIG", length) => {
                let text = "0123456789".chars().cycle().take(length.parse().unwrap()).collect();
                one_value(answers, Type::NVarChar { length: 0 }, Value::Text(text)).await
            }
            ("SETS", "") => {
                one_value(answers, Type::Int, Value::Int(1)).await?;
                answers.send(Answer::Done { rows: Some(3), failed: false }).await?;
                answers.send(Answer::Said(message(0, 10, "between"))).await?;
                answers.send(Answer::Columns(vec![column("empty", Type::Int)])).await?;
                answers.send(done(0)).await?;
                one_value(answers, Type::VarChar { length: 9 }, Value::Text("last".into())).await
            }
            ("NOTHING", "") => Ok(()),
            ("INFO", "") => {
                answers.send(Answer::Said(message(0, 10, "hello"))).await?;
                answers.send(Answer::Done { rows: None, failed: false }).await
            }
            ("ERROR", "") => {
                answers.send(Answer::Said(message(50_001, 16, "it went wrong"))).await?;
                answers.send(Answer::Done { rows: None, failed: true }).await
            }
            ("ERRORS", "") => {
                answers.send(Answer::Said(message(4305, 16, "too recent"))).await?;
                answers.send(Answer::Said(message(3013, 16, "terminating abnormally"))).await?;
                answers.send(Answer::Done { rows: None, failed: true }).await
            }
            ("ERROR_AFTER_ROWS", "") => {
                answers.send(Answer::Columns(vec![column("v", Type::Int)])).await?;
                answers.send(Answer::Row(vec![Value::Int(1)])).await?;
                answers.send(Answer::Said(message(1205, 13, "deadlock"))).await?;
                answers.send(Answer::Done { rows: None, failed: true }).await
            }
            ("SEVERE", "") => {
                answers.send(Answer::Said(message(823, 24, "the disk is gone"))).await?;
                answers.send(Answer::Done { rows: None, failed: true }).await
            }
            ("MISFIT", "") => {
                answers.send(Answer::Columns(vec![column("v", Type::Int)])).await?;
                answers.send(Answer::Row(vec![Value::Int(1)])).await?;
                answers.send(Answer::Row(vec![Value::Text("not a number".into())])).await?;
                answers.send(Answer::Row(vec![Value::Int(2)])).await?;
                answers.send(done(3)).await
            }
            ("PANIC", "") => panic!("as the test wants it"),
            ("WAIT", rows) => {
                if rows == "ROWS" {
                    answers.send(Answer::Columns(vec![column("v", Type::Int)])).await?;
                    answers.send(Answer::Row(vec![Value::Int(1)])).await?;
                }
                tokio::select! {
                    () = cancelled.cancelled() => self.tell(Event::Cancelled(spid)),
                    () = answers.closed() => self.tell(Event::Abandoned(spid)),
                }
                if rows == "ROWS" {
                    answers.send(Answer::Row(vec![Value::Int(2)])).await?;
                }
                answers.send(Answer::Done { rows: None, failed: true }).await
            }
            ("ENDLESS", "") => {
                answers.send(Answer::Columns(vec![column("v", Type::Int)])).await?;
                while !cancelled.is_cancelled() {
                    answers.send(Answer::Row(vec![Value::Int(1)])).await?;
                }
                self.tell(Event::Cancelled(spid));
                answers.send(Answer::Done { rows: None, failed: true }).await
            }
            ("CUT", "") => {
                answers.send(Answer::Columns(vec![column("v", Type::Int)])).await?;
                answers.send(Answer::Row(vec![Value::Int(1)])).await?;
                answers.send(Answer::Cut).await
            }
            ("USE" | "use", database) => {
                let database = database.trim_matches(['[', ']']);
                answers.send(Answer::Database(database.to_owned())).await?;
                let text = format!("Changed database context to '{database}'.");
                answers.send(Answer::Said(message(5701, 0, &text))).await?;
                answers.send(Answer::Done { rows: None, failed: false }).await
            }
            ("BEGIN" | "COMMIT" | "ROLLBACK" | "SET" | "SAVE", _) => {
                answers.send(Answer::Done { rows: None, failed: false }).await
            }
            _ => {
                answers.send(Answer::Said(message(102, 15, &format!("Incorrect syntax near '{word}'.")))).await?;
                answers.send(Answer::Done { rows: None, failed: true }).await
            }
        }
    }
}

/// Says what it got: name, kind and text of every parameter, a status, and the output parameters with other values.
async fn procedure(name: &str, parameters: Vec<Parameter>, answers: &mpsc::Sender<Answer>) -> Sent {
    if name == "sp_broken" {
        answers.send(Answer::Said(message(50_002, 16, "the procedure went wrong"))).await?;
        answers.send(Answer::Done { rows: None, failed: true }).await?;
        return answers.send(Answer::Returned(-6)).await;
    }
    let columns = vec![column("name", Type::NVarChar { length: 128 }), column("value", Type::NVarChar { length: 0 })];
    answers.send(Answer::Columns(columns)).await?;
    let count = parameters.len() as u64;
    for parameter in &parameters {
        let value = format!("{:?}", parameter.value);
        answers.send(Answer::Row(vec![Value::Text(parameter.name.clone()), Value::Text(value)])).await?;
    }
    answers.send(done(count)).await?;
    for parameter in parameters.into_iter().filter(|parameter| parameter.output) {
        answers.send(Answer::Output(Parameter { value: Value::Int(4711), ..parameter })).await?;
    }
    answers.send(Answer::Returned(if name == "sp_executesql" { 0 } else { 5 })).await
}
