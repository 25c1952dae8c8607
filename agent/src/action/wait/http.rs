//! A page fetched with HTTP/1.1, with TLS where the URL says so (see `trust.rs`).
//!
//! Apart because it is a protocol. Why our own: a readiness page needs one request and a bound on the answer, and a
//! client library would be the largest part of the agent. It must never read more than [`BODY_BYTES_MAX`] or follow a
//! redirect: the status is the answer.

use std::io;

use baton_model::action::wait::HttpProbe;
use baton_model::outcome::Fault;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::trust;

const BODY_BYTES_MAX: u64 = 1 << 20;

/// A URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// As it stands in the request's `Host`.
    authority: String,
    path: String,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| wrong(url, why);
        let (rest, tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(wrong("does not begin with http:// or https://")),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if authority.contains('@') {
            return Err(wrong("holds a user name, which would be shown everywhere"));
        }
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong("holds white space"));
        }
        let after_host = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_host..].rfind(':') {
            Some(at) => (&authority[..after_host + at], &authority[after_host + at + 1..]),
            None => (authority, if tls { "443" } else { "80" }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        let port = port.parse().map_err(|_| wrong("has a port that is no number up to 65535"))?;
        Ok(Self { host: host.to_owned(), port, tls, authority: authority.to_owned(), path })
    }
}

fn wrong(url: &str, why: &str) -> Fault {
    let remedy = "Write it as http://host:port/path or https://host:port/path.";
    Fault::new("BTN-0542", format!("the URL {url:?} {why}."), remedy)
}

/// A fault where the question makes no sense.
pub fn check(probe: &HttpProbe) -> Result<(), Fault> {
    let target = Target::parse(&probe.url)?;
    if !target.tls && (probe.ca_file.is_some() || !probe.verify) {
        return Err(wrong(&probe.url, "has no TLS, so ca_file and verify mean nothing"));
    }
    if probe.ca_file.is_some() && !probe.verify {
        return Err(wrong(&probe.url, "is given a ca_file and verify: false, which contradict each other"));
    }
    Ok(())
}

/// A status and a body, cut at its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Gets a page. The caller bounds the time.
pub async fn get(probe: &HttpProbe) -> io::Result<Page> {
    let target = Target::parse(&probe.url).map_err(|fault| io::Error::other(fault.message))?;
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    if !target.tls {
        return exchange(stream, &target).await;
    }
    let stream = trust::shake_hands(stream, &target.host, probe.ca_file.as_deref(), probe.verify).await?;
    exchange(stream, &target).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: &Target) -> io::Result<Page> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: baton-agent\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        target.path, target.authority
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 8192];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            // Some servers reset instead of closing once all is sent.
            Err(_) if page(&bytes, true).is_some() => break,
            Err(error) => return Err(error),
        }
        // Servers that do not close: the length says when it is all there.
        if let Some(page) = page(&bytes, false) {
            return Ok(page);
        }
        if bytes.len() as u64 > BODY_BYTES_MAX {
            break;
        }
    }
    page(&bytes, true).ok_or_else(|| io::Error::other("the answer is not HTTP"))
}

/// The page in what was read, if it is all there; `ended`: nothing more comes.
pub fn page(bytes: &[u8], ended: bool) -> Option<Page> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..head_end]);
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split_ascii_whitespace();
    let status =
        first.next().filter(|version| version.starts_with("HTTP/")).and_then(|_| first.next()?.parse().ok())?;
    let raw = &bytes[head_end + 4..];
    // A server may say "100 Continue" or the like first.
    if (100..200).contains(&status) {
        return page(raw, ended);
    }
    let header = |name: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    if header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        let (body, complete) = dechunked(raw);
        return (complete || ended).then_some(Page { status, body });
    }
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    match length {
        Some(length) if raw.len() >= length => Some(Page { status, body: raw[..length].to_vec() }),
        _ if ended => Some(Page { status, body: raw.to_vec() }),
        _ if matches!(status, 204 | 304) => Some(Page { status, body: Vec::new() }),
        _ => None,
    }
}

fn dechunked(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line_end) = raw.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let line = String::from_utf8_lossy(&raw[..line_end]);
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { return (body, true) };
        let rest = &raw[line_end + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        match rest.get(size.saturating_add(2)..) {
            Some(next) => raw = next,
            None => return (body, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused_with_its_reason() {
        let target = Target::parse("http://[::1]:8080/a?b=c#d").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 8080, "/a?b=c"));
        let target = Target::parse("http://h?x").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("h", 80, "/?x"));
        let target = Target::parse("https://h/").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.tls), ("h", 443, true));
        for bad in ["h:80", "ftp://h/", "http://", "http://h:x/", "http://h:70000/", "http://u:p@h/", "http://h/a b"] {
            assert_eq!(Target::parse(bad).unwrap_err().code, "BTN-0542", "{bad}");
        }
    }

    #[test]
    fn what_tls_alone_knows_is_refused_without_it_and_contradictions_always() {
        let ask = |url: &str, ca_file: Option<&str>, verify| {
            let (url, ca_file) = (url.to_owned(), ca_file.map(str::to_owned));
            check(&HttpProbe { url, status: 200, body_contains: None, ca_file, verify }).map_err(|fault| fault.code)
        };
        assert_eq!(ask("https://h/", Some("/ca.pem"), true), Ok(()));
        assert_eq!(ask("https://h/", None, false), Ok(()));
        for (url, ca_file, verify) in
            [("http://h/", Some("/ca.pem"), true), ("http://h/", None, false), ("https://h/", Some("/ca.pem"), false)]
        {
            assert_eq!(ask(url, ca_file, verify), Err("BTN-0542".to_owned()));
        }
    }

    #[test]
    fn a_chunked_body_is_put_together_and_an_unfinished_one_waited_for() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2;x=y\r\ndy\r\n0\r\n\r\n";
        assert_eq!(page(answer, false), Some(Page { status: 200, body: b"ready".to_vec() }));
        assert_eq!(page(&answer[..answer.len() - 8], false), None);
        let plain = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 Busy\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(page(plain, false), Some(Page { status: 503, body: b"no".to_vec() }));
        assert_eq!(page(b"SSH-2.0-x\r\n\r\n", true), None);
    }
}
