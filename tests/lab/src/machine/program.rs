//! The process behind a machine's service: a hidden subcommand of `baton-lab`.
//!
//! It writes its own pid file and notes its own start and stop, once it works: only one process can have its port, so what is
//! noted has happened exactly once, whatever became of the script that asked for it.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::service::{Need, Service, Work};
use crate::sqlserver;

/// The hidden subcommand: `baton-lab machine-service ROOT NAME PART…`. The parts are arguments so that they are found by
/// their names among the processes.
pub const SUBCOMMAND: &str = "machine-service";

/// How long a question about a need may take.
const NEED_WITHIN: Duration = Duration::from_secs(2);
/// How long a page may take in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at needs that are not met.
const LOOK: Duration = Duration::from_millis(100);

/// Runs a service until it is ended.
pub fn main(arguments: &[String]) -> ExitCode {
    let [root, name, ..] = arguments else {
        eprintln!("usage: {SUBCOMMAND} ROOT NAME PART…");
        return ExitCode::from(2);
    };
    baton_platform::tls::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime needs threads, and this machine has some");
    match runtime.block_on(serve(Path::new(root), name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(root: &Path, name: &str) -> Result<()> {
    let path = root.join(format!("etc/services/{name}.json"));
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let service: Service = serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
    let mut terminated = signal(SignalKind::terminate())?;
    match service.work {
        Work::SqlServer { world, instance } => {
            let shutdown = CancellationToken::new();
            let serving = sqlserver::process::begin(&world, &instance, shutdown.clone()).await?;
            started(root, name)?;
            tokio::pin!(serving);
            tokio::select! {
                ended = &mut serving => return ended,
                _ = terminated.recv() => {}
            }
            // Sessions end before the process does.
            shutdown.cancel();
            serving.await?;
        }
        Work::Genesys(component) => {
            let started = || started(root, name);
            component.serve(root, name, address_of(root)?, &mut terminated, started).await?;
        }
        Work::DataMover(component) => {
            let started = || started(root, name);
            component.serve(address_of(root)?, &mut terminated, started).await?;
        }
        Work::Application { port, parts, needs, warm_up_ms } => {
            let address = address_of(root)?;
            let listener = TcpListener::bind((address, port)).await.with_context(|| format!("listen on {port}"))?;
            started(root, name)?;
            let here = Arc::new(Application { root: root.to_owned(), name: name.to_owned(), parts, needs });
            let warming = tokio::spawn(Arc::clone(&here).warm_up(Duration::from_millis(warm_up_ms)));
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted?,
                    _ = terminated.recv() => break,
                };
                let here = Arc::clone(&here);
                tokio::spawn(async move { timeout(ANSWER_WITHIN, here.answer(stream)).await });
            }
            warming.abort();
            // Its end is awaited: a part must not come up behind our back.
            drop(warming.await);
            for part in &here.parts {
                drop(fs::remove_file(root.join(format!("run/{part}.pid"))));
            }
        }
    }
    note(root, name, "stop")
}

/// The machine's address, where the lab has put it.
fn address_of(root: &Path) -> Result<std::net::Ipv4Addr> {
    let path = root.join("etc/address");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    text.trim().parse().with_context(|| format!("{} holds no address", path.display()))
}

fn started(root: &Path, name: &str) -> Result<()> {
    write_pid(root, name)?;
    note(root, name, "start")
}

fn write_pid(root: &Path, name: &str) -> Result<()> {
    // Whole at once: a script may read it at any moment.
    let (fresh, path) = (root.join(format!("run/{name}.pid.new")), root.join(format!("run/{name}.pid")));
    fs::write(&fresh, format!("{}\n", std::process::id()))?;
    fs::rename(&fresh, &path).with_context(|| format!("write {}", path.display()))
}

/// A line in the journal of effects, as the scripts write it: one write, so that lines never mix.
fn note(root: &Path, name: &str, verb: &str) -> Result<()> {
    let path = root.join("var/effects.log");
    let mut journal = fs::OpenOptions::new().append(true).create(true).open(&path)?;
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    journal.write_all(format!("{at} {name} {verb}\n").as_bytes()).with_context(|| format!("write {}", path.display()))
}

struct Application {
    root: PathBuf,
    name: String,
    parts: Vec<String>,
    needs: Vec<Need>,
}

impl Application {
    /// Its parts come up, one after the other, each when the needs are met.
    async fn warm_up(self: Arc<Self>, each: Duration) {
        for part in self.parts.iter().chain(self.parts.is_empty().then_some(&self.name)) {
            tokio::time::sleep(each).await;
            while let Err(unmet) = self.unmet().await {
                eprintln!("{part} waits: {unmet}");
                tokio::time::sleep(LOOK).await;
            }
            if let Err(error) = write_pid(&self.root, if *part == self.name { "warm" } else { part }) {
                eprintln!("{part}: {error:#}");
            }
        }
    }

    async fn unmet(&self) -> Result<Vec<String>, String> {
        let mut met = Vec::new();
        for need in &self.needs {
            met.push(ask_need(need).await?);
        }
        Ok(met)
    }

    fn part_is_up(&self, part: &str) -> bool {
        let pid = fs::read_to_string(self.root.join(format!("run/{part}.pid"))).unwrap_or_default();
        pid.trim() == std::process::id().to_string()
    }

    async fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut part = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 * 1024 {
            match stream.read(&mut part).await? {
                0 => break,
                read => request.extend_from_slice(&part[..read]),
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let asked = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let (status, body) = match self.health(&asked).await {
            Ok(body) => ("200 OK", body),
            Err(why) if why.is_empty() => ("404 Not Found", "no such page".to_owned()),
            Err(why) => ("503 Service Unavailable", why),
        };
        let length = body.len() + 1;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all((head + &body + "\n").as_bytes()).await?;
        stream.shutdown().await
    }

    async fn health(&self, asked: &str) -> Result<String, String> {
        let name = &self.name;
        if asked.is_empty() {
            let met = self.unmet().await.map_err(|unmet| format!("{name} cannot work: {unmet}"))?;
            if let Some(down) = self.parts.iter().find(|part| !self.part_is_up(part)) {
                return Err(format!("{name}: {down} is not up yet"));
            }
            if self.parts.is_empty() && !self.part_is_up("warm") {
                return Err(format!("{name} is still warming up"));
            }
            let used = if met.is_empty() { String::new() } else { format!(" with {}", met.join(" and ")) };
            return Ok(format!("{name} works{used}"));
        }
        match self.parts.iter().any(|part| part == asked) {
            false => Err(String::new()),
            true if self.part_is_up(asked) => Ok(format!("{asked} is up")),
            true => Err(format!("{asked} is not up yet")),
        }
    }
}

/// What meets a need now, or why it is not met.
async fn ask_need(need: &Need) -> Result<String, String> {
    match need {
        Need::Tcp { address } => match timeout(NEED_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(address.to_string()),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address} does not answer")),
        },
        Need::Http { address, path } => match ask(*address, path).await {
            Ok((200, _)) => Ok(format!("{address}/{path}")),
            Ok((status, body)) => Err(format!("{address}/{path}: {status} {body}")),
            Err(error) => Err(format!("{address}/{path}: {error}")),
        },
        Need::Writable { any_of, database, user, password } => {
            let mut refusals = Vec::new();
            for address in any_of {
                let endpoint = sqlserver::Endpoint {
                    address: *address,
                    database: database.clone(),
                    user: user.clone(),
                    password: password.clone(),
                };
                match timeout(NEED_WITHIN, endpoint.is_writable()).await {
                    Ok(Ok(true)) => return Ok(format!("{database} on {address}")),
                    Ok(Ok(false)) => refusals.push(format!("{database} on {address} is not writable")),
                    Ok(Err(error)) => refusals.push(format!("{address}: {error:#}")),
                    Err(_) => refusals.push(format!("{address} does not answer")),
                }
            }
            Err(refusals.join("; "))
        }
    }
}

/// Asks a page as a prober would: the status and the body. An error: nobody listens, or no answer in time.
pub async fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let path = path.trim_start_matches('/');
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {text:?}")))?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, body.trim().to_owned()))
    };
    timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
