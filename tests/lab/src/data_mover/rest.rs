//! The REST service: `POST /datamover/jobs` hands a job to the daemon, `GET /datamover/health` says that the service itself is well,
//! whatever the daemon is.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

pub(super) const HEALTH: &str = "/datamover/health";
pub(super) const JOBS: &str = "/datamover/jobs";
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
const BODY_MAX: usize = 4096;

pub(super) async fn work(listener: TcpListener, daemon: SocketAddr) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        tokio::spawn(timeout(ANSWER_WITHIN, answer(stream, daemon)));
    }
}

async fn answer(stream: TcpStream, daemon: SocketAddr) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut length = 0_usize;
    loop {
        let mut header = String::new();
        if stream.read_line(&mut header).await? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    ensure!(length <= BODY_MAX, "a job of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let mut words = first.split(' ');
    let (status, said) = match (words.next(), words.next()) {
        (Some("GET"), Some(HEALTH)) => ("200 OK", "the REST service is well".to_owned()),
        (Some("POST"), Some(JOBS)) => hand_over(daemon, &body).await,
        _ => ("404 Not Found", "no such page".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        said.len()
    );
    stream.write_all((head + &said).as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// What the daemon says of a job. Without a connection to it nothing can have happened.
async fn hand_over(daemon: SocketAddr, job: &[u8]) -> (&'static str, String) {
    let Ok(mut stream) = TcpStream::connect(daemon).await else {
        return ("503 Service Unavailable", "refused the daemon is not there".to_owned());
    };
    let asked = async {
        stream.write_all(&[job, b"\n"].concat()).await?;
        BufReader::new(&mut stream).lines().next_line().await
    };
    match asked.await {
        Ok(Some(said)) if said.starts_with("accepted ") => ("201 Created", said),
        Ok(Some(said)) if said.starts_with("refused ") => ("503 Service Unavailable", said),
        Ok(Some(said)) => ("500 Internal Server Error", said),
        Ok(None) | Err(_) => ("500 Internal Server Error", "unknown the daemon died".to_owned()),
    }
}
