//! The program behind dtService, av-manager and diagnose: a hidden subcommand of `baton-lab`.
//!
//! It stands in for the vendor's services, and depends on the databases as they do: its health, asked by HTTP,
//! is 200 only while it can write to the database that its own configuration file names. The file is read for
//! every question; the hosts are tried in the order of the file, and the first that accepts a write is used, so a
//! service whose file still names a returned old primary really writes to the wrong one.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use super::{
    appliance::{Database, Service},
    postgres::Endpoint,
    properties,
};

/// The hidden subcommand: `baton-lab appliance-service ROOT NAME`.
pub const SUBCOMMAND: &str = "appliance-service";

/// How long one host may take before the next is tried.
const HOST_WITHIN: Duration = Duration::from_secs(1);
/// How long a question may take in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Runs a service until it is killed.
pub fn main(arguments: &[String]) -> ExitCode {
    let [root, name] = arguments else {
        eprintln!("usage: {SUBCOMMAND} ROOT NAME");
        return ExitCode::from(2);
    };
    let Some(service) = Service::named(name) else {
        eprintln!("{name}: no such service");
        return ExitCode::from(2);
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs no resources");
    match runtime.block_on(serve(Path::new(root), service)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(root: &Path, service: Service) -> std::io::Result<()> {
    let address: Ipv4Addr = setting(root, "ADDRESS").and_then(|text| text.parse().ok()).ok_or_else(|| {
        std::io::Error::other(format!("{} names no address", root.join("etc/appliance.sh").display()))
    })?;
    let listener = TcpListener::bind(SocketAddr::from((address, service.port()))).await?;
    // Only one process can have the port: what is noted here has happened exactly once, whatever became of the script.
    let mut terminated = signal(SignalKind::terminate())?;
    fs::write(root.join(format!("run/{}.pid", service.name())), format!("{}\n", std::process::id()))?;
    note(root, service, "start")?;
    eprintln!("{} listens on {}", service.name(), listener.local_addr()?);
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = terminated.recv() => return note(root, service, "stop"),
        };
        let root = root.to_owned();
        tokio::spawn(async move { timeout(ANSWER_WITHIN, answer(stream, &root, service)).await });
    }
}

/// A line in the journal of effects, as the scripts write it: one write, so that lines never mix.
fn note(root: &Path, service: Service, verb: &str) -> std::io::Result<()> {
    let mut journal = fs::OpenOptions::new().append(true).create(true).open(root.join("var/effects.log"))?;
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    journal.write_all(format!("{at} {} {verb}\n", service.name()).as_bytes())
}

/// A word of the appliance's settings, which are shell assignments.
fn setting(root: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(root.join("etc/appliance.sh")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(line.trim_matches('\'').to_owned())
}

async fn answer(mut stream: TcpStream, root: &Path, service: Service) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 * 1024 {
        match stream.read(&mut part).await? {
            0 => break,
            read => request.extend_from_slice(&part[..read]),
        }
    }
    let (status, body) = match health(root, service).await {
        Ok(used) => ("200 OK", format!("{} writes to {}\n", service.name(), used.join(" and "))),
        Err(reason) => ("503 Service Unavailable", format!("{} cannot write: {reason}\n", service.name())),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}

/// What a service can write to now, as `ADDRESS/DATABASE`; or why it cannot.
async fn health(root: &Path, service: Service) -> Result<Vec<String>, String> {
    let password = fs::read_to_string(root.join("etc/database-password")).map_err(|error| error.to_string())?;
    let mut used = Vec::new();
    for candidates in wanted(root, service)? {
        let mut refusals = Vec::new();
        let mut chosen = None;
        for (address, database) in candidates {
            let endpoint =
                Endpoint { address, database, user: "desktone".into(), password: password.trim().to_owned() };
            match timeout(HOST_WITHIN, super::verification::accepts_writes(&endpoint)).await {
                Ok(Ok(true)) => {
                    chosen = Some(format!("{address}/{}", endpoint.database));
                    break;
                }
                Ok(Ok(false)) => refusals.push(format!("{address} refuses writes")),
                Ok(Err(error)) => refusals.push(error.to_string()),
                Err(_) => refusals.push(format!("{address} does not answer")),
            }
        }
        used.push(chosen.ok_or_else(|| refusals.join("; "))?);
    }
    Ok(used)
}

type Candidates = Vec<(SocketAddr, String)>;

/// The databases a service needs; for each the places to try, in order.
fn wanted(root: &Path, service: Service) -> Result<Vec<Candidates>, String> {
    let active = "usr/local/desktone/release/active";
    let avdb: PathBuf = root.join(active).join("avdb.properties");
    match service {
        Service::DtService => Ok(vec![hosts(&root.join(active).join("conf/fdb.properties"), Database::Fdb)?]),
        // Tenants alone have an avdb.
        Service::AvManager if avdb.exists() => Ok(vec![hosts(&avdb, Database::Avdb)?]),
        Service::AvManager => Ok(vec![hosts(&root.join(active).join("conf/fdb.properties"), Database::Fdb)?]),
        Service::Diagnose => {
            let path = root.join("usr/local/xmpms/diagnose/config/application.properties");
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let one = |key: &str| {
                let address =
                    properties::value(&text, key).ok_or_else(|| format!("{} has no {key}", path.display()))?;
                let read = properties::jdbc(&address).ok_or_else(|| format!("{key} is no JDBC address: {address}"))?;
                Ok(vec![read])
            };
            ["db.jdbc.url", "db.fdb.jdbc.url"].into_iter().map(one).collect()
        }
    }
}

fn hosts(path: &Path, database: Database) -> Result<Candidates, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let wrong = |what: &str| format!("{}: {what}", path.display());
    let port: u16 =
        properties::value(&text, "db.port").and_then(|port| port.parse().ok()).ok_or_else(|| wrong("no db.port"))?;
    let hosts = properties::list(&text, "db.hosts");
    if hosts.is_empty() {
        return Err(wrong("no db.hosts"));
    }
    let one = |host: String| {
        let address: Ipv4Addr = host.parse().map_err(|_| wrong(&format!("{host} is no address")))?;
        Ok((SocketAddr::from((address, port)), database.name().to_owned()))
    };
    hosts.into_iter().map(one).collect()
}

/// Asks a service's health as a prober would: the status and the body. An error: nobody listens, or no answer in time.
pub async fn ask(address: SocketAddr) -> std::io::Result<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {text:?}")))?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, body.trim().to_owned()))
    };
    timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
