//! Where something listens, as people write it: `host:port`.
//!
//! Apart because the same text names three things that must agree: what is dialled, what the certificate of the
//! other side is verified against, and what an error shows. It must never resolve a name: that is the dialler's work,
//! and a simulation has names of its own.

use std::fmt;
use std::str::FromStr;

/// A host name or IP address, and a port. IPv6 is written in brackets: `[::1]:7400`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// Text that is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: {reason}. Write HOST:PORT, for instance db1.example.org:7400 or [::1]:7400")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl Address {
    /// Puts the two parts together, with the same checks as parsing.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        if host.contains(':') { format!("[{host}]:{port}").parse() } else { format!("{host}:{port}").parse() }
    }

    /// The host, without brackets: what a certificate is verified against.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| AddressError { text: text.to_owned(), reason };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| refuse("it has no port"))?;
        let port: u16 = port.parse().map_err(|_| refuse("the port is not a number from 1 to 65535"))?;
        if port == 0 {
            return Err(refuse("the port is not a number from 1 to 65535"));
        }
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or_else(|| refuse("the bracket is not closed"))?;
                inner
                    .parse::<std::net::Ipv6Addr>()
                    .map_err(|_| refuse("what is in brackets is not an IPv6 address"))?;
                inner
            }
            None if host.contains(':') => return Err(refuse("an IPv6 address needs brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(refuse("it has no host"));
        }
        if !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':')) {
            return Err(refuse("the host has a character that no host name has"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(socket: std::net::SocketAddr) -> Self {
        Self { host: socket.ip().to_string(), port: socket.port() }
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in ["localhost:1", "10.0.0.1:7400", "[::1]:7400", "db_1.example.org:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:7400".parse::<Address>().unwrap().host(), "::1");
        assert_eq!(Address::new("::1", 7400).unwrap().to_string(), "[::1]:7400");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("localhost", "no port"),
            (":7400", "no host"),
            ("host:0", "from 1 to 65535"),
            ("host:70000", "from 1 to 65535"),
            ("::1:7400", "needs brackets"),
            ("[::1:7400", "not closed"),
            ("[db1]:7400", "not an IPv6"),
            ("a b:7400", "character"),
            ("https://a:7400", "needs brackets"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{text}: {error}");
        }
    }
}
