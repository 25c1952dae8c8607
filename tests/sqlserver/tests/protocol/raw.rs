//! A client that says exactly what it is told to, byte by byte if need be.
//!
//! Apart because real clients are too well behaved for some questions.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::toy::{DEADLINE, Instance, PASSWORD, USER};

pub const BATCH: u8 = 0x01;
pub const RPC: u8 = 0x03;
pub const ATTENTION: u8 = 0x06;
pub const LOGIN: u8 = 0x10;
pub const PRELOGIN: u8 = 0x12;

pub const END: u8 = 0x01;
pub const IGNORE: u8 = 0x02;
pub const RESET: u8 = 0x08;

/// A packet.
pub fn packet(kind: u8, status: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind, status];
    packet.put_u16(u16::try_from(body.len() + 8).unwrap());
    packet.extend([0, 0, 1, 0]);
    packet.extend(body);
    packet
}

pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// ALL_HEADERS and text.
pub fn batch_body(text: &str) -> Vec<u8> {
    let mut body = vec![22, 0, 0, 0, 18, 0, 0, 0, 2, 0];
    body.extend([0; 8]);
    body.extend([1, 0, 0, 0]);
    body.extend(utf16(text));
    body
}

/// A prelogin that wants no encryption.
pub fn prelogin_body() -> Vec<u8> {
    vec![0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 16, 0, 0, 0, 0, 0, 2]
}

/// LOGIN7 of version 7.4.
pub fn login_body(user: &str, password: &str) -> Vec<u8> {
    let mut fixed = BytesMut::new();
    fixed.put_u32_le(0);
    fixed.put_u32_le(0x7400_0004);
    fixed.put_u32_le(4096);
    fixed.put_bytes(0, 12 + 4 + 8);
    let mut data = Vec::new();
    let password = utf16(password).into_iter().map(|byte| byte.rotate_left(4) ^ 0xA5).collect();
    for field in [utf16("host"), utf16(user), password, utf16("raw"), vec![], vec![], vec![], vec![], vec![]] {
        fixed.put_u16_le(u16::try_from(94 + data.len()).unwrap());
        fixed.put_u16_le(u16::try_from(field.len() / 2).unwrap());
        data.extend(field);
    }
    fixed.put_bytes(0, 94 - fixed.len());
    let mut body = fixed.to_vec();
    body.extend(data);
    let length = u32::try_from(body.len()).unwrap();
    body[..4].copy_from_slice(&length.to_le_bytes());
    body
}

pub struct Raw {
    pub socket: TcpStream,
}

impl Raw {
    pub async fn connect(instance: &Instance) -> Self {
        let socket = TcpStream::connect(instance.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket }
    }

    pub async fn log_in(instance: &Instance) -> Self {
        let mut raw = Self::connect(instance).await;
        raw.send(&packet(PRELOGIN, END, &prelogin_body())).await;
        // Two options, their end, version and encryption.
        assert_eq!(raw.reply().await.len(), 5 * 2 + 1 + 6 + 1);
        raw.send(&packet(LOGIN, END, &login_body(USER, PASSWORD))).await;
        let reply = raw.reply().await;
        assert_eq!(done(&reply), 0, "{reply:02x?}");
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Every byte on its own.
    pub async fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// One packet: its status and body.
    pub async fn packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let read = async {
            let mut header = [0; 8];
            self.socket.read_exact(&mut header).await?;
            let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]])) - 8];
            self.socket.read_exact(&mut body).await?;
            Ok((header[1], body))
        };
        tokio::time::timeout(DEADLINE, read).await.expect("the server answers")
    }

    /// A whole message's body.
    pub async fn reply(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let (status, body) = self.packet().await.expect("the server answers");
            message.extend(body);
            if status & END != 0 {
                return message;
            }
        }
    }

    pub async fn ask(&mut self, text: &str) -> Vec<u8> {
        self.send(&packet(BATCH, END, &batch_body(text))).await;
        self.reply().await
    }

    /// Nothing more comes, not for a moment.
    pub async fn is_silent(&mut self) -> bool {
        const MOMENT: Duration = Duration::from_millis(50);
        tokio::time::timeout(MOMENT, self.socket.read_u8()).await.is_err()
    }

    /// The server has hung up; what it said before does not matter.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(DEADLINE, self.socket.read_to_end(&mut rest)).await.is_ok()
    }
}

/// The status of the DONE at the end of a message.
pub fn done(message: &[u8]) -> u16 {
    let mut done = &message[message.len() - 13..];
    assert_eq!(done.get_u8(), 0xFD, "{message:02x?}");
    done.get_u16_le()
}
