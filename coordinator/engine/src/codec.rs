//! What is on disk: commands and snapshots as JSON under a version, so that a later version can tell and convert.
//!
//! It must never leave out what it does not know: a coordinator that does differs from those that know it, and nobody sees it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{command::Proposal, state::State};

use self::unknown::unknown;

mod unknown;

/// Raised when the form of proposals or of the state changes.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("not understood: {0}")]
    Malformed(String),
    #[error(
        "written in version {found} of the form; this program knows version {VERSION}. Use a program at least as new as the one that wrote it."
    )]
    Version { found: u32 },
    #[error("it says {place}, which this program does not know")]
    Unknown { place: String },
}

#[derive(Serialize)]
struct Out<'a, T> {
    version: u32,
    body: &'a T,
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

#[derive(Deserialize)]
struct In<T> {
    body: T,
}

fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(&Out { version: VERSION, body })
        .expect("replicated types have string keys and no failing serializers")
}

/// Reads what nobody's state is made of.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let header: Header = serde_json::from_slice(bytes).map_err(|error| CodecError::Malformed(error.to_string()))?;
    if header.version != VERSION {
        return Err(CodecError::Version { found: header.version });
    }
    serde_json::from_slice::<In<T>>(bytes).map(|read| read.body).map_err(|error| CodecError::Malformed(brief(&error)))
}

/// Without the list of everything that it could have been.
fn brief(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(", expected one of").next().unwrap_or_default().to_owned()
}

/// Reads everything that is there, or nothing.
fn decode_whole<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, CodecError> {
    let body: T = decode(bytes)?;
    let malformed = |error: serde_json::Error| CodecError::Malformed(error.to_string());
    let said: In<serde_json::Value> = serde_json::from_slice(bytes).map_err(malformed)?;
    // What was understood says again what it understood.
    let understood = serde_json::to_value(&body).map_err(malformed)?;
    match unknown(&said.body, &understood) {
        None => Ok(body),
        Some(place) => Err(CodecError::Unknown { place }),
    }
}

pub fn encode_proposal(proposal: &Proposal) -> Vec<u8> {
    encode(proposal)
}

pub fn decode_proposal(bytes: &[u8]) -> Result<Proposal, CodecError> {
    decode_whole(bytes)
}

pub fn encode_answer(answer: &crate::command::Answer) -> Vec<u8> {
    encode(answer)
}

pub fn decode_answer(bytes: &[u8]) -> Result<crate::command::Answer, CodecError> {
    decode(bytes)
}

#[derive(Serialize)]
struct Flat<'a> {
    state: &'a State,
}

#[derive(Serialize, Deserialize)]
struct Read {
    state: State,
}

pub fn encode_state(state: &State) -> Vec<u8> {
    encode(&Flat { state })
}

pub fn decode_state(bytes: &[u8]) -> Result<State, CodecError> {
    decode_whole::<Read>(bytes).map(|read| read.state)
}
