//! The first exchange: what the client wants encrypted, and what it gets (MS-TDS 2.2.6.5).
//!
//! Apart because it is a table, and the table is pure.

use bytes::{BufMut, BytesMut};

use super::cursor::{Cursor, Malformed};

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const MARS: u8 = 4;
const TERMINATOR: u8 = 0xFF;

/// What a server is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Encrypts if the client wants it, and the login in any case that both can.
    #[default]
    Available,
    /// Talks to nobody without.
    Forced,
    /// Cannot.
    None,
}

/// The encryption byte of either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// 0: the login only.
    Off,
    /// 1
    On,
    /// 2
    NotSupported,
    /// 3
    Required,
}

impl Wish {
    fn of(byte: u8) -> Option<Self> {
        [Wish::Off, Wish::On, Wish::NotSupported, Wish::Required].into_iter().find(|wish| wish.code() == byte)
    }

    fn code(self) -> u8 {
        match self {
            Wish::Off => 0,
            Wish::On => 1,
            Wish::NotSupported => 2,
            Wish::Required => 3,
        }
    }
}

/// What will be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    Plain,
    LoginOnly,
    Everything,
    /// The server hangs up after its answer.
    Refused,
}

/// The server's byte, and what comes of it.
pub fn agree(server: Encryption, client: Wish) -> (Wish, Agreement) {
    match (server, client) {
        (Encryption::Available, Wish::Off) => (Wish::Off, Agreement::LoginOnly),
        (Encryption::Available, Wish::NotSupported) => (Wish::NotSupported, Agreement::Plain),
        (Encryption::Available | Encryption::Forced, Wish::On | Wish::Required) => (Wish::On, Agreement::Everything),
        (Encryption::Forced, Wish::Off) => (Wish::Required, Agreement::Everything),
        (Encryption::Forced, Wish::NotSupported) => (Wish::Required, Agreement::Refused),
        (Encryption::None, Wish::Off | Wish::NotSupported) => (Wish::NotSupported, Agreement::Plain),
        (Encryption::None, Wish::On | Wish::Required) => (Wish::NotSupported, Agreement::Refused),
    }
}

/// What a client says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prelogin {
    pub encryption: Wish,
    /// It asks for several requests at once on a connection, which it does not get.
    pub asks_mars: bool,
}

impl Prelogin {
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let malformed = Malformed("prelogin");
        let mut table = Cursor::new("prelogin", body);
        // A client that says nothing of encryption cannot do it.
        let mut prelogin = Prelogin { encryption: Wish::NotSupported, asks_mars: false };
        let mut first = true;
        loop {
            let option = table.u8()?;
            if option == TERMINATOR {
                break;
            }
            if first && option != VERSION {
                return Err(malformed);
            }
            first = false;
            let (offset, length) = (usize::from(table.u16_big_endian()?), usize::from(table.u16_big_endian()?));
            let data = body.get(offset..offset + length).ok_or(malformed.clone())?;
            match (option, data.first()) {
                (ENCRYPTION, Some(byte)) => prelogin.encryption = Wish::of(*byte).ok_or(malformed.clone())?,
                (MARS, Some(byte)) => prelogin.asks_mars = *byte != 0,
                _ => {}
            }
        }
        if first { Err(malformed) } else { Ok(prelogin) }
    }
}

/// The server's answer.
pub fn reply(encryption: Wish, mars_was_asked: bool) -> BytesMut {
    /// As SQL Server 2022 says it: 16.0.1000, sub-build 0.
    const SERVER_VERSION: [u8; 6] = [16, 0, 0x03, 0xE8, 0, 0];
    let mut options: Vec<(u8, &[u8])> = vec![(VERSION, &SERVER_VERSION)];
    let byte = [encryption.code()];
    options.push((ENCRYPTION, &byte));
    if mars_was_asked {
        options.push((MARS, &[0]));
    }
    let mut table = BytesMut::new();
    let mut offset = options.len() * 5 + 1;
    for (option, data) in &options {
        table.put_u8(*option);
        table.put_u16(u16::try_from(offset).expect("three short options"));
        table.put_u16(u16::try_from(data.len()).expect("three short options"));
        offset += data.len();
    }
    table.put_u8(TERMINATOR);
    for (_, data) in options {
        table.put_slice(data);
    }
    table
}
