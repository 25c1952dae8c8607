//! A real listener and callers of every kind: polite, wrong, slow, and far too many.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use baton_platform::listen::{Listen, TcpListen};
use baton_web::{Bounds, Http, Standing, Standings, serve_within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Much longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// More than enough, and below the usual limit of descriptors.
const CALLERS: usize = 500;

/// dm1 is primary of dm, dm2 is not, and h9 is of no member.
#[derive(Default)]
struct Known {
    sick: AtomicBool,
    /// Until it is opened again, no question about a group is answered.
    gate: Gate,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    at_once_most: AtomicUsize,
}

struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

#[async_trait]
impl Standings for Known {
    async fn of(&self, group: &str, host: Option<&str>) -> Option<Standing> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once_most.fetch_max(at_once, Ordering::SeqCst);
        self.gate.0.subscribe().wait_for(|open| *open).await.unwrap();
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let standing = |member: Option<&str>, primary: bool, why_not: Option<&str>| Standing {
            group: group.to_owned(),
            primary,
            member: member.map(str::to_owned),
            epoch: 4,
            lease_left_ms: primary.then_some(7300),
            why_not: why_not.map(str::to_owned),
        };
        match (group, host) {
            ("dm", None | Some("h1")) => Some(standing(Some("dm1"), true, None)),
            ("dm", Some("h2")) => Some(standing(Some("dm2"), false, Some("dm1 is primary"))),
            ("dm", Some("h9")) => Some(standing(None, false, None)),
            _ => None,
        }
    }
    async fn healthy(&self) -> Result<(), String> {
        match self.sick.load(Ordering::SeqCst) {
            true => Err("no coordinator is on the line".to_owned()),
            false => Ok(()),
        }
    }
}

struct Served {
    address: SocketAddr,
    known: Arc<Known>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn with(bounds: Bounds) -> Self {
        let listener = TcpListen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, known, stop) =
            (listener.local_addr().unwrap(), Arc::new(Known::default()), CancellationToken::new());
        let serving = tokio::spawn(serve_within(bounds, listener, known.clone(), stop.clone()));
        Self { address, known, stop, serving }
    }
    async fn new() -> Self {
        Self::with(Bounds::default()).await
    }
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
    /// All that is answered to these bytes, until the server closes.
    async fn say(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }
    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let answer = self.say(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
        (status(head), body.to_owned())
    }
}

/// Until the end, however it comes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    timeout(LONG, async {
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..read]);
        }
    })
    .await
    .expect("the server never closes");
    String::from_utf8(bytes).unwrap()
}

async fn wait_until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, waiting).await.expect("waited in vain");
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no HTTP: {head:?}"))
}

#[tokio::test]
async fn a_primary_is_200_and_everybody_else_is_503_and_why() {
    let served = Served::new().await;
    let primary = r#"{"epoch":4,"group":"dm","lease_left_ms":7300,"member":"dm1","primary":true}"#;
    let standby = r#"{"epoch":4,"group":"dm","member":"dm2","primary":false}"#;
    let table = [
        ("/groups/dm/primary", 200, primary.to_owned()),
        ("/groups/dm/primary/h1", 200, primary.to_owned()),
        ("/groups/dm/primary/h1?x=1", 200, primary.to_owned()),
        ("/groups/dm/primary/h2", 503, standby.replace('}', r#","why_not":"dm1 is primary"}"#)),
        (
            "/groups/dm/primary/h9",
            503,
            r#"{"epoch":4,"group":"dm","primary":false,"why_not":"it is not primary"}"#.into(),
        ),
        ("/groups/dm/standby/h2", 200, standby.to_owned()),
        ("/groups/dm/standby", 503, primary.replace('}', r#","why_not":"it is primary"}"#)),
        (
            "/groups/dm/standby/h9",
            503,
            r#"{"epoch":4,"group":"dm","primary":false,"why_not":"it is of no member"}"#.into(),
        ),
        ("/health", 200, r#"{"healthy":true}"#.to_owned()),
    ];
    for (path, status, document) in table {
        assert_eq!(served.ask("GET", path).await, (status, format!("{document}\n")), "{path}");
        // HAProxy's own check is OPTIONS; both are about the status alone.
        assert_eq!(served.ask("OPTIONS", path).await.0, status, "{path}");
        assert_eq!(served.ask("HEAD", path).await, (status, String::new()), "{path}");
    }
    served.known.sick.store(true, Ordering::SeqCst);
    let (status, document) = served.ask("GET", "/health").await;
    assert_eq!((status, document.contains("no coordinator is on the line")), (503, true), "{document}");
}

#[tokio::test]
async fn what_is_not_known_is_404_and_another_method_405() {
    let served = Served::new().await;
    for path in ["/groups/other/primary", "/groups/dm/primary/h3"] {
        assert_eq!(served.ask("GET", path).await.0, 404, "{path}");
    }
    let asked = served.known.asked.load(Ordering::SeqCst);
    for path in ["/", "/groups/dm", "/groups/../etc/passwd", "/groups/dm/primary/../../x", "/groups/dm/primary/%2e%2e"]
    {
        assert_eq!(served.ask("GET", path).await.0, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        assert_eq!(served.ask(method, "/groups/dm/primary").await.0, 405, "{method}");
    }
    assert_eq!(served.known.asked.load(Ordering::SeqCst), asked, "nobody is asked for those");
    let answer = served.say("POST /health HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("\r\nallow: GET, HEAD, OPTIONS\r\n"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_question() {
    let served = Served::new().await;
    let mut stream = served.connect().await;
    for _ in 0..3 {
        stream.write_all(b"HEAD /groups/dm/primary HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
        }
        assert_eq!(status(&String::from_utf8(answer).unwrap()), 200);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_never_primary() {
    let served = Served::with(Bounds { answer_within: Duration::from_millis(50), ..Bounds::default() }).await;
    served.known.gate.0.send_replace(false);
    let (status, document) = served.ask("GET", "/groups/dm/primary").await;
    assert_eq!((status, document.as_str()), (503, "{\"error\":\"no answer is known in time\"}\n"));
}

#[tokio::test]
async fn who_trickles_is_cut_off_and_so_is_who_says_nothing() {
    let served = Served::with(Bounds { headers_within: Duration::from_millis(300), ..Bounds::default() }).await;
    let mut silent = served.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let (mut reader, mut writer) = served.connect().await.into_split();
    let trickling = tokio::spawn(async move {
        writer.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        let mut every = tokio::time::interval(Duration::from_millis(20));
        // Always one more header, never the last: until the server has closed.
        loop {
            every.tick().await;
            if writer.write_all(b"X: y\r\n").await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let _ = timeout(LONG, reader.read_to_end(&mut answer)).await.expect("the server never closes");
    timeout(LONG, trickling).await.expect("it can still be written to").unwrap();
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn too_much_is_refused() {
    let served = Served::new().await;
    let long = "x".repeat(100_000);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nX: {long}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100)),
        "SSH-2.0-x\r\n\r\n".to_owned(),
    ] {
        let mut stream = served.connect().await;
        // The server may close before it has read all of it.
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || (400..500).contains(&status(&answer)), "{answer}");
    }
    // A body is neither read nor waited for.
    let mut stream = served.connect().await;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nx").await.unwrap();
    assert_eq!(status(&rest(&mut stream).await), 200);
}

#[tokio::test]
async fn of_many_callers_few_are_served_at_once_and_all_of_them_in_the_end() {
    let served = Served::with(Bounds { connections_max: 8, answer_within: LONG, ..Bounds::default() }).await;
    served.known.gate.0.send_replace(false);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let address = served.address;
        callers.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /groups/dm/primary HTTP/1.0\r\n\r\n").await.unwrap();
            status(&rest(&mut stream).await)
        });
    }
    wait_until(|| served.known.asked.load(Ordering::SeqCst) >= 8).await;
    served.known.gate.0.send_replace(true);
    let statuses = timeout(LONG, callers.join_all()).await.expect("somebody is never answered");
    assert_eq!(statuses, [200; CALLERS]);
    assert_eq!(served.known.asked.load(Ordering::SeqCst), CALLERS);
    assert_eq!(served.known.at_once_most.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn at_the_end_what_is_under_way_is_answered_and_nobody_holds_it_up() {
    let served = Served::with(Bounds { answer_within: Duration::from_millis(300), ..Bounds::default() }).await;
    served.known.gate.0.send_replace(false);
    let (mut asking, _idle) = (served.connect().await, served.connect().await);
    asking.write_all(b"GET /groups/dm/primary HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    wait_until(|| served.known.asked.load(Ordering::SeqCst) == 1).await;
    served.stop.cancel();
    assert_eq!(status(&rest(&mut asking).await), 503);
    timeout(LONG, served.serving).await.expect("it never ends").unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[test]
fn the_table_is_strict() {
    let read = |text: &str| toml::from_str::<Http>(text);
    assert_eq!(read("listen = \"127.0.0.1:7410\"").unwrap().listen.port(), 7410);
    for wrong in ["", "listen = \"localhost:7410\"", "listen = \"127.0.0.1:7410\"\ntls = true"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
