//! LOGIN7: who comes, with what protocol (MS-TDS 2.2.6.4).
//!
//! Apart because every one of its offsets is a stranger's word. Pure.

use super::cursor::{Cursor, Malformed, utf16};
use crate::answer::Login;

/// What both sides speak from the login on. Older ones (before SQL Server 2005) are not spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V72,
    V73A,
    V73B,
    V74,
    /// Only inside TLS; on the wire as 7.4.
    V80,
}

impl Version {
    fn of(number: u32) -> Option<Self> {
        match number {
            0x0800_0000 => Some(Version::V80),
            0x7209_0002..0x730A_0003 => Some(Version::V72),
            0x730A_0003..0x730B_0003 => Some(Version::V73A),
            0x730B_0003..0x7400_0004 => Some(Version::V73B),
            0x7400_0004.. => Some(Version::V74),
            _ => None,
        }
    }

    /// As LOGINACK says it.
    pub fn number(self) -> u32 {
        match self {
            Version::V72 => 0x7209_0002,
            Version::V73A => 0x730A_0003,
            Version::V73B => 0x730B_0003,
            Version::V74 => 0x7400_0004,
            Version::V80 => 0x0800_0000,
        }
    }

    /// Rows may leave out their NULLs.
    pub fn knows_compressed_rows(self) -> bool {
        self >= Version::V73B
    }
}

/// What LOGIN7 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login7 {
    pub version: Version,
    /// Of packets, header and all; within what the protocol allows.
    pub packet_size: usize,
    /// The client wants to log in with the account that it runs under, which is not possible here.
    pub integrated: bool,
    user: String,
    password: String,
    database: String,
    application: String,
    client_host: String,
    read_only_intent: bool,
}

/// Why a login cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the client speaks TDS 0x{0:08X}; 7.2 is the oldest that is spoken here")]
    Version(u32),
}

const READ_ONLY_INTENT: u8 = 0x20;
const INTEGRATED_SECURITY: u8 = 0x80;

impl Login7 {
    pub fn decode(body: &[u8]) -> Result<Self, LoginError> {
        const WHAT: &str = "login";
        let mut fixed = Cursor::new(WHAT, body);
        let length = usize::try_from(fixed.u32()?).map_err(|_| fixed.malformed())?;
        let body = body.get(..length).ok_or(fixed.malformed())?;
        let version = fixed.u32()?;
        let version = Version::of(version).ok_or(LoginError::Version(version))?;
        let packet_size = fixed.u32()?;
        // Program version, process, connection.
        fixed.take(12)?;
        let _options1 = fixed.u8()?;
        let options2 = fixed.u8()?;
        let type_flags = fixed.u8()?;
        let _options3 = fixed.u8()?;
        // Time zone, language number.
        fixed.take(8)?;
        let mut field = || -> Result<&[u8], Malformed> {
            let (offset, units) = (usize::from(fixed.u16()?), usize::from(fixed.u16()?));
            if units == 0 {
                // The offset of nothing is anything.
                return Ok(&[]);
            }
            body.get(offset..offset + units * 2).ok_or(Malformed(WHAT))
        };
        let client_host = utf16(field()?);
        let user = utf16(field()?);
        let password: Vec<u8> = field()?.iter().map(|byte| (byte ^ 0xA5).rotate_left(4)).collect();
        let application = utf16(field()?);
        let _server = field()?;
        let _extension = field()?;
        let _library = field()?;
        let _language = field()?;
        let database = utf16(field()?);
        Ok(Login7 {
            version,
            packet_size: match usize::try_from(packet_size).unwrap_or(usize::MAX) {
                0 => super::packet::SIZE_BEFORE_LOGIN,
                wanted => wanted.clamp(512, 32767),
            },
            integrated: options2 & INTEGRATED_SECURITY != 0,
            user,
            password: utf16(&password),
            database,
            application,
            client_host,
            read_only_intent: type_flags & READ_ONLY_INTENT != 0,
        })
    }

    /// What the engine sees of it; `encrypted` is not the login alone, but all that follows.
    pub fn login(&self, encrypted: bool) -> Login {
        Login {
            user: self.user.clone(),
            password: self.password.clone(),
            database: self.database.clone(),
            application: self.application.clone(),
            client_host: self.client_host.clone(),
            read_only_intent: self.read_only_intent,
            encrypted,
        }
    }
}
