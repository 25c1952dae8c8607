//! What is on disk: commands and snapshots as JSON under a version, so that a later version can tell and convert.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{command::Proposal, state::State};

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

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let header: Header = serde_json::from_slice(bytes).map_err(|error| CodecError::Malformed(error.to_string()))?;
    if header.version != VERSION {
        return Err(CodecError::Version { found: header.version });
    }
    serde_json::from_slice::<In<T>>(bytes)
        .map(|read| read.body)
        .map_err(|error| CodecError::Malformed(error.to_string()))
}

pub fn encode_proposal(proposal: &Proposal) -> Vec<u8> {
    encode(proposal)
}

pub fn decode_proposal(bytes: &[u8]) -> Result<Proposal, CodecError> {
    decode(bytes)
}

pub fn encode_answer(answer: &crate::command::Answer) -> Vec<u8> {
    encode(answer)
}

pub fn decode_answer(bytes: &[u8]) -> Result<crate::command::Answer, CodecError> {
    decode(bytes)
}

pub fn encode_state(state: &State) -> Vec<u8> {
    #[derive(Serialize)]
    struct Flat<'a> {
        state: &'a State,
    }
    encode(&Flat { state })
}

pub fn decode_state(bytes: &[u8]) -> Result<State, CodecError> {
    #[derive(Deserialize)]
    struct Flat {
        state: State,
    }
    decode::<Flat>(bytes).map(|flat| flat.state)
}
