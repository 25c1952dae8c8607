//! The door against a server that speaks the real protocol and says what a test wants: what goes wrong before a statement
//! is understood, or in the middle of it.

use std::sync::{Arc, Mutex};

use baton_sqlserver::{
    answer::{Answer, Column, LoggedIn, Login, Message, Request, Server, Spid, Type, Value},
    tds::{self, Certificate, Encryption as Offered, Options},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does with logins; statements it knows by their words.
enum Door {
    Open,
    Refuses(i32, &'static str),
    Routes(&'static str),
}

struct Scripted {
    door: Door,
    asked: Mutex<Vec<String>>,
    /// Ends the last session, as KILL does.
    cut: Mutex<CancellationToken>,
    attention: CancellationToken,
}

fn message(number: i32, class: u8, text: &str) -> Message {
    Message { number, state: 1, class, text: text.to_owned(), procedure: String::new(), line: 1 }
}

#[async_trait::async_trait]
impl Server for Scripted {
    fn name(&self) -> &str {
        "SQL7"
    }

    async fn log_in(&self, login: Login) -> LoggedIn {
        match &self.door {
            Door::Open => LoggedIn::Welcome {
                spid: 57,
                database: if login.database.is_empty() { "master".to_owned() } else { login.database },
                messages: Vec::new(),
                cut: {
                    let cut = CancellationToken::new();
                    *self.cut.lock().expect("not poisoned") = cut.clone();
                    cut
                },
            },
            Door::Refuses(number, text) => {
                LoggedIn::Refused(vec![message(*number, 14, text), message(18456, 14, "Login failed.")])
            }
            Door::Routes(host) => LoggedIn::Routed { host: (*host).to_owned(), port: 1433 },
        }
    }

    async fn execute(&self, _: Spid, request: Request, answers: mpsc::Sender<Answer>, cancelled: CancellationToken) {
        let text = match request {
            Request::Batch(text) => text,
            Request::Procedure { parameters, .. } => match parameters.first().map(|one| &one.value) {
                Some(Value::Text(text)) => text.clone(),
                other => panic!("sp_executesql without a statement: {other:?}"),
            },
        };
        self.asked.lock().expect("not poisoned").push(text.clone());
        let done = |failed| Answer::Done { rows: None, failed };
        let script = match text.as_str() {
            text if text.contains("@@SERVERNAME") => vec![
                Answer::Columns(vec![
                    Column { name: "server_name".to_owned(), kind: Type::NVarChar { length: 128 }, nullable: true },
                    Column { name: "session_id".to_owned(), kind: Type::SmallInt, nullable: false },
                ]),
                Answer::Row(vec![Value::Text("SQL7".to_owned()), Value::SmallInt(57)]),
                Answer::Done { rows: Some(1), failed: false },
            ],
            "KILLED" => {
                self.cut.lock().expect("not poisoned").cancel();
                std::future::pending::<()>().await;
                Vec::new()
            }
            "CUT" => vec![Answer::Cut],
            "DENIED" => vec![
                Answer::Said(message(300, 14, "VIEW SERVER STATE permission was denied on object 'server'.")),
                done(true),
            ],
            "PAIR" => vec![
                Answer::Said(message(3101, 16, "Exclusive access could not be obtained.")),
                Answer::Said(message(3013, 16, "RESTORE DATABASE is terminating abnormally.")),
                done(true),
            ],
            "SLOW" => {
                cancelled.cancelled().await;
                self.attention.cancel();
                vec![done(false)]
            }
            "FROZEN" => {
                std::future::pending::<()>().await;
                Vec::new()
            }
            _ => vec![Answer::Done { rows: Some(3), failed: false }],
        };
        for answer in script {
            // A client that has gone is what some of these tests are about.
            let _ = answers.send(answer).await;
        }
    }

    async fn reset(&self, _: Spid) {}
    async fn log_out(&self, _: Spid) {}
}

struct Instance {
    server: Arc<Scripted>,
    port: u16,
    shutdown: CancellationToken,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Instance {
    async fn start(door: Door, encryption: Offered, certificate: Option<Certificate>) -> Self {
        let server = Arc::new(Scripted {
            door,
            asked: Mutex::default(),
            cut: Mutex::default(),
            attention: CancellationToken::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shutdown = CancellationToken::new();
        let options = Options { encryption, certificate, ..Options::default() };
        tokio::spawn(tds::serve(listener, Arc::clone(&server) as Arc<dyn Server>, options, shutdown.clone()));
        Self { server, port, shutdown }
    }

    async fn open() -> Self {
        Self::start(Door::Open, Offered::None, None).await
    }

    fn target(&self) -> Target {
        Target {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            database: "master".to_owned(),
            user: "baton".to_owned(),
            password: Some(Zeroizing::new("Geheim-1".to_owned())),
            encryption: Encryption::Off,
            instance: Some("SQL7".to_owned()),
            connect_timeout: Duration::from_secs(5),
        }
    }

    async fn session(&self) -> Session {
        Session::open(&self.target(), &limits()).await.expect("a session")
    }
}

fn limits() -> Limits {
    Limits { cancel: CancellationToken::new(), deadline: Instant::now() + PATIENCE }
}

async fn refused(target: &Target) -> Error {
    match Session::open(target, &limits()).await {
        Ok(_) => panic!("{target} was entered"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_refused_login_names_instance_login_and_the_first_number() {
    let instance = Instance::start(Door::Refuses(18456, "Login failed for user 'baton'."), Offered::None, None).await;
    let error = refused(&instance.target()).await;
    assert!(matches!(&error, Error::Login { said, .. } if said.number == 18456), "{error}");
    for part in ["SQL7 at 127.0.0.1", "login baton", "18456"] {
        assert!(error.to_string().contains(part), "{part:?} in {error}");
    }
    assert!(!format!("{error:?} {:?}", instance.target()).contains("Geheim"), "no password in what is shown");
    let closed = Instance::start(Door::Refuses(4060, "Cannot open database \"POM\"."), Offered::None, None).await;
    let error = refused(&closed.target()).await;
    assert_eq!(error.number(), Some(4060), "the reason, not the 18456 that follows it: {error}");
}

#[tokio::test]
async fn a_listener_that_sends_elsewhere_is_not_followed() {
    let instance = Instance::start(Door::Routes("SQL9"), Offered::None, None).await;
    let error = refused(&instance.target()).await;
    assert!(matches!(&error, Error::Routed { to, .. } if to == "SQL9:1433"), "{error}");
}

#[tokio::test]
async fn another_instance_that_answers_is_refused() {
    let instance = Instance::open().await;
    let error = refused(&Target { instance: Some("SQL1".to_owned()), ..instance.target() }).await;
    assert!(
        matches!(&error, Error::OtherInstance { expected, found, .. } if expected == "SQL1" && found == "SQL7"),
        "{error}"
    );
    let session = Session::open(&Target { instance: Some("sql7".to_owned()), ..instance.target() }, &limits()).await;
    assert_eq!(session.map(|session| session.id()).ok(), Some(57), "names are compared without regard to case");
}

#[tokio::test]
async fn nobody_and_somebody_silent_are_not_reached() {
    let instance = Instance::open().await;
    let gone = Target { port: 1, ..instance.target() };
    assert!(matches!(refused(&gone).await, Error::Unreachable { .. }));
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let patient = Target { port, connect_timeout: Duration::from_millis(200), ..instance.target() };
    let error = refused(&patient).await;
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("200ms")), "{error}");
}

#[tokio::test]
async fn a_killed_session_leaves_it_open_whether_the_statement_took_effect() {
    let instance = Instance::open().await;
    for (statement, number) in [("KILLED", Some(596)), ("CUT", None)] {
        let mut session = instance.session().await;
        let error = session.batch(statement).await.expect_err("the session ended");
        assert!(matches!(&error, Error::Broken { number: seen, .. } if *seen == number), "{statement}: {error}");
        assert!(error.is_uncertain() && session.is_over(), "{statement}");
        let again = session.batch("ANYTHING").await.expect_err("nothing more can be asked");
        assert!(matches!(again, Error::Broken { .. }), "{again}");
    }
}

#[tokio::test]
async fn a_refused_statement_leaves_the_session_and_tells_the_first_error() {
    let instance = Instance::open().await;
    let mut session = instance.session().await;
    let error = session.batch("DENIED").await.expect_err("refused");
    assert!(matches!(&error, Error::Statement { said, .. } if said.number == 300) && !error.is_uncertain(), "{error}");
    assert_eq!(session.batch("PAIR").await.expect_err("refused").number(), Some(3101), "3013 only follows");
    assert_eq!(session.execute("UPDATE", &["x".into()]).await.expect("executed"), 3);
}

#[tokio::test]
async fn a_statement_that_is_too_slow_is_ended_on_the_server_too() {
    let instance = Instance::open().await;
    let mut session = instance.session().await;
    session.limit(Limits { cancel: CancellationToken::new(), deadline: Instant::now() + Duration::from_millis(100) });
    let error = session.batch("SLOW").await.expect_err("too slow");
    assert!(matches!(error, Error::TooSlow { .. }), "{error}");
    timeout(PATIENCE, instance.server.attention.cancelled()).await.expect("the server was told");
    session.limit(limits());
    session.batch("NEXT").await.expect("the session can be used again");
    assert_eq!(instance.server.asked.lock().expect("not poisoned").last().map(String::as_str), Some("NEXT"));
}

#[tokio::test]
async fn a_frozen_server_is_left_behind() {
    let instance = Instance::open().await;
    let mut session = instance.session().await;
    let cancel = CancellationToken::new();
    session.limit(Limits { cancel: cancel.clone(), deadline: Instant::now() + PATIENCE });
    let asked = || instance.server.asked.lock().expect("not poisoned").iter().any(|text| text == "FROZEN");
    let cancelling = async {
        while !asked() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(session.batch("FROZEN"), cancelling);
    let error = answer.expect_err("cancelled");
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(session.is_over() && began.elapsed() < PATIENCE / 2, "after {:?}", began.elapsed());
}

struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text).expect("written");
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        write("ca.pem", parameters.self_signed(&key).expect("signed").pem());
        let issuer = rcgen::Issuer::new(parameters, key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let server = rcgen::CertificateParams::new(["sql7.example".to_owned()]).expect("a name");
        write("server.pem", server.signed_by(&key, &issuer).expect("signed").pem());
        write("server.key", key.serialize_pem());
        Self { directory }
    }

    fn certificate(&self) -> Certificate {
        Certificate::read(&self.directory.path().join("server.pem"), &self.directory.path().join("server.key"))
            .expect("read")
    }

    fn known_as(&self, name: Option<&str>) -> super::Authority {
        let ca_file = self.directory.path().join("ca.pem").to_str().expect("text").to_owned();
        super::Authority { ca_file: Some(ca_file), name: name.map(str::to_owned) }
    }
}

#[tokio::test]
async fn a_certificate_counts_only_with_its_authority_and_its_name() {
    let ours = Authority::new();
    let theirs = Authority::new();
    let instance = Instance::start(Door::Open, Offered::Available, Some(ours.certificate())).await;
    let with = |encryption: Encryption| Target { encryption, ..instance.target() };
    for good in [
        Encryption::Verify(ours.known_as(Some("sql7.example"))),
        Encryption::Strict(ours.known_as(Some("sql7.example"))),
        Encryption::Trust,
    ] {
        let opened = Session::open(&with(good.clone()), &limits()).await;
        assert_eq!(opened.map(|session| session.id()).map_err(|error| error.to_string()), Ok(57), "{good:?}");
    }
    for bad in [
        Encryption::Verify(ours.known_as(None)),
        Encryption::Verify(ours.known_as(Some("sql8.example"))),
        Encryption::Verify(theirs.known_as(Some("sql7.example"))),
        Encryption::Strict(theirs.known_as(Some("sql7.example"))),
        Encryption::Verify(super::Authority::default()),
    ] {
        let error = refused(&with(bad.clone())).await;
        assert!(matches!(error, Error::Insecure { .. }), "{bad:?}: {error}");
        assert!(!error.to_string().contains("trust_cert"), "no advice about the client's own settings: {error}");
    }
    let nowhere = super::Authority { ca_file: Some("/nowhere/ca.pem".to_owned()), name: None };
    assert!(matches!(refused(&with(Encryption::Verify(nowhere))).await, Error::Authority { .. }));
    let plain = Instance::open().await;
    let error = refused(&Target { encryption: Encryption::Trust, ..plain.target() }).await;
    assert!(matches!(error, Error::Insecure { .. }), "a server without TLS: {error}");
}
