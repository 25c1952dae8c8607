//! Packets and the messages that are made of them (MS-TDS 2.2.3).
//!
//! Apart so that everything above speaks of messages. Pure: it sees bytes, never a socket.

use bytes::{BufMut, BytesMut};

use super::cursor::Malformed;

/// The length of a packet's header.
pub const HEADER: usize = 8;
/// The size of packets until login fixes another.
pub const SIZE_BEFORE_LOGIN: usize = 4096;

const END_OF_MESSAGE: u8 = 0x01;
const IGNORE: u8 = 0x02;
const RESET_CONNECTION: u8 = 0x08;
const RESET_CONNECTION_KEEP_TRANSACTION: u8 = 0x10;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Batch,
    Rpc,
    /// Server to client: everything but a TLS handshake.
    Reply,
    Attention,
    BulkLoad,
    FederatedToken,
    TransactionManager,
    Login,
    Sspi,
    Prelogin,
}

const KINDS: [(u8, Kind); 10] = [
    (0x01, Kind::Batch),
    (0x03, Kind::Rpc),
    (0x04, Kind::Reply),
    (0x06, Kind::Attention),
    (0x07, Kind::BulkLoad),
    (0x08, Kind::FederatedToken),
    (0x0E, Kind::TransactionManager),
    (0x10, Kind::Login),
    (0x11, Kind::Sspi),
    (0x12, Kind::Prelogin),
];

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        KINDS.iter().find(|(code, _)| *code == byte).map(|(_, kind)| *kind)
    }

    /// As the header says it.
    pub fn code(self) -> u8 {
        KINDS.iter().find(|(_, kind)| *kind == self).map(|(code, _)| *code).expect("every kind is in the table")
    }
}

/// One packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub kind: Kind,
    status: u8,
    pub body: BytesMut,
}

/// Takes the first packet off the bytes received, once it is complete.
pub fn split(received: &mut BytesMut) -> Result<Option<Packet>, Malformed> {
    let Some(header) = received.first_chunk::<HEADER>() else { return Ok(None) };
    let (kind, status, length) = (header[0], header[1], usize::from(u16::from_be_bytes([header[2], header[3]])));
    let kind = Kind::of(kind).ok_or(Malformed("packet header"))?;
    if length < HEADER {
        return Err(Malformed("packet header"));
    }
    if received.len() < length {
        return Ok(None);
    }
    let mut packet = received.split_to(length);
    let body = packet.split_off(HEADER);
    Ok(Some(Packet { kind, status, body }))
}

/// A whole message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    /// The session goes back to how it was after login, before this message is looked at.
    pub reset: bool,
    pub body: BytesMut,
}

/// Why packets do not make a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the client's message is longer than {limit} bytes")]
    TooLong { limit: usize },
}

/// Collects packets until a message is whole.
#[derive(Debug)]
pub struct Assembly {
    bytes_max: usize,
    begun: Option<Message>,
}

impl Assembly {
    /// Messages of at most so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, begun: None }
    }

    /// The message that this packet completes, if it does. An attention drops what has begun; a client that does not want
    /// its message any more says so in the last packet, and hears nothing.
    pub fn add(&mut self, packet: Packet) -> Result<Option<Message>, AssemblyError> {
        if packet.kind == Kind::Attention {
            self.begun = None;
            return Ok(Some(Message { kind: Kind::Attention, reset: false, body: BytesMut::new() }));
        }
        let message = match self.begun.take() {
            None => {
                let reset = packet.status & (RESET_CONNECTION | RESET_CONNECTION_KEEP_TRANSACTION) != 0;
                Message { kind: packet.kind, reset, body: packet.body }
            }
            Some(begun) if begun.kind != packet.kind => return Err(Malformed("message").into()),
            Some(mut begun) => {
                begun.body.extend_from_slice(&packet.body);
                begun
            }
        };
        if message.body.len() > self.bytes_max {
            return Err(AssemblyError::TooLong { limit: self.bytes_max });
        }
        if packet.status & END_OF_MESSAGE == 0 {
            self.begun = Some(message);
            return Ok(None);
        }
        Ok((packet.status & IGNORE == 0).then_some(message))
    }
}

/// Cuts what the server says into packets.
#[derive(Debug)]
pub struct Outbox {
    kind: Kind,
    size: usize,
    spid: u16,
    next_id: u8,
    /// What is to be said and in no packet yet.
    pub body: BytesMut,
}

impl Outbox {
    /// Packets of this kind and size (header and all).
    pub fn new(kind: Kind, size: usize) -> Self {
        Self { kind, size, spid: 0, next_id: 1, body: BytesMut::new() }
    }

    /// From the next packet on.
    pub fn set_size(&mut self, size: usize) {
        self.size = size;
    }

    /// Every packet carries it.
    pub fn set_spid(&mut self, spid: u16) {
        self.spid = spid;
    }

    /// The packets that are full; the message goes on.
    pub fn full(&mut self) -> BytesMut {
        let mut packets = BytesMut::new();
        // More than full: the last packet of a message must not be empty.
        while self.body.len() > self.size - HEADER {
            self.packet(&mut packets, self.size - HEADER, 0);
        }
        packets
    }

    /// Everything so far; the message goes on.
    pub fn so_far(&mut self) -> BytesMut {
        let mut packets = self.full();
        if !self.body.is_empty() {
            let length = self.body.len();
            self.packet(&mut packets, length, 0);
        }
        packets
    }

    /// Everything; the message ends.
    pub fn end(&mut self) -> BytesMut {
        let mut packets = self.full();
        let length = self.body.len();
        self.packet(&mut packets, length, END_OF_MESSAGE);
        self.next_id = 1;
        packets
    }

    fn packet(&mut self, packets: &mut BytesMut, length: usize, status: u8) {
        packets.put_u8(self.kind.code());
        packets.put_u8(status);
        packets.put_u16(u16::try_from(HEADER + length).expect("a packet has at most 32767 bytes"));
        packets.put_u16(self.spid);
        packets.put_u8(self.next_id);
        packets.put_u8(0);
        packets.put(self.body.split_to(length));
        self.next_id = self.next_id.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
