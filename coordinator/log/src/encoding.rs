//! Bytes on the disk and on the wire: postcard, which is compact and knows every type of openraft.
//!
//! It says nothing about what it encodes, so a reader must know: formats are numbered where they begin, and bytes that are
//! left over mean that something else was written than is being read.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("postcard encodes every type of this crate into memory")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(invalid)?;
    match rest.len() {
        0 => Ok(value),
        n => Err(invalid(format!("{n} bytes too many"))),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
