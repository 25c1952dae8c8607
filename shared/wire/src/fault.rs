//! A refusal on the wire: the one place where a [`Fault`] becomes a gRPC status, and a status a fault again.
//!
//! Apart so that both sides agree on it. It must never carry "ask the leader": that is a redirect, which a client
//! follows without a word to anybody, and no refusal.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_model::outcome::Fault;
use tonic::{Code, Status, metadata::MetadataValue};

/// Metadata of a refusal: the fault as JSON, in base64 (URL alphabet, no padding).
pub const FAULT_KEY: &str = "baton-fault";
/// Metadata of a redirect: where the leader is; empty while nobody knows.
pub const LEADER_KEY: &str = "baton-leader";

/// A longer text is cut in the metadata: HTTP/2 clients take 16 KiB of headers in all, and drop the call beyond.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// The status' own message is for tools that know no faults.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A fault as a status.
pub fn to_status(fault: &Fault) -> Status {
    let fault = Fault {
        code: fault.code.clone(),
        message: cut(&fault.message, TEXT_BYTES_MAX),
        remedy: cut(&fault.remedy, TEXT_BYTES_MAX),
    };
    let json = serde_json::to_vec(&fault).expect("a fault is three strings");
    let value = MetadataValue::try_from(URL_SAFE_NO_PAD.encode(json)).expect("base64 is plain ASCII");
    let mut status = Status::new(code_of(&fault), cut(&fault.to_string(), MESSAGE_BYTES_MAX));
    status.metadata_mut().insert(FAULT_KEY, value);
    status
}

/// The fault in a status, if it is a refusal: from its metadata, or from a message that begins with a code (which the
/// connection's own refusals have).
pub fn from_status(status: &Status) -> Option<Fault> {
    let carried = status.metadata().get(FAULT_KEY).and_then(|value| {
        let json = URL_SAFE_NO_PAD.decode(value.as_bytes()).ok()?;
        serde_json::from_slice(&json).ok()
    });
    carried.or_else(|| {
        let (code, message) = status.message().split_once(' ')?;
        let number = code.strip_prefix("BTN-")?;
        let is_code = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        is_code.then(|| Fault::new(code, message, ""))
    })
}

/// "Ask the leader", and where it is, if that is known.
pub fn not_leader(leader: Option<&str>) -> Status {
    let leader = leader.unwrap_or_default();
    let text =
        if leader.is_empty() { "not the leader, and none is known".into() } else { format!("the leader is {leader}") };
    let mut status = Status::new(Code::FailedPrecondition, text);
    // An address that no header can carry is as good as none.
    let value = MetadataValue::try_from(leader).unwrap_or(MetadataValue::from_static(""));
    status.metadata_mut().insert(LEADER_KEY, value);
    status
}

/// Whether a status says "ask the leader", and whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// The leader's address.
    To(String),
    /// Nobody leads, as far as the one that was asked knows.
    Unknown,
}

/// The redirect in a status, if it is one.
pub fn redirect(status: &Status) -> Option<Redirect> {
    let value = status.metadata().get(LEADER_KEY)?.to_str().ok()?;
    Some(if value.is_empty() { Redirect::Unknown } else { Redirect::To(value.to_owned()) })
}

fn code_of(fault: &Fault) -> Code {
    match fault.code.as_str() {
        "BTN-0109" | "BTN-0110" | "BTN-0111" => Code::NotFound,
        // Not even a question: a malformed name, no such verb.
        "BTN-0145" | "BTN-0147" | "BTN-0148" | "BTN-0149" | "BTN-0153" => Code::InvalidArgument,
        "BTN-0301" => Code::Unauthenticated,
        code if code.starts_with("BTN-030") => Code::PermissionDenied,
        // Files that are wrong in themselves, whatever the state is.
        code if code.starts_with("BTN-00") => Code::InvalidArgument,
        _ => Code::FailedPrecondition,
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_back_as_it_was_sent() {
        let cases = [
            ("BTN-0110", Code::NotFound),
            ("BTN-0111", Code::NotFound),
            ("BTN-0149", Code::InvalidArgument),
            ("BTN-0301", Code::Unauthenticated),
            ("BTN-0302", Code::PermissionDenied),
            ("BTN-0003", Code::InvalidArgument),
            ("BTN-0102", Code::FailedPrecondition),
            ("BTN-0310", Code::FailedPrecondition),
        ];
        for (code, expected) in cases {
            let fault = Fault::new(code, "größer als 3:\n\"line two\"", "Run \"baton plan\" again.");
            let status = to_status(&fault);
            assert_eq!(status.code(), expected, "{code}");
            assert_eq!(from_status(&status), Some(fault));
            assert_eq!(redirect(&status), None);
        }
    }

    #[test]
    fn a_long_fault_is_cut_so_that_headers_can_carry_it() {
        let fault = Fault::new("BTN-0102", "é".repeat(100_000), "x".repeat(100_000));
        let status = to_status(&fault);
        let carried: usize = status
            .metadata()
            .iter()
            .map(|entry| match entry {
                tonic::metadata::KeyAndValueRef::Ascii(_, value) => value.len(),
                tonic::metadata::KeyAndValueRef::Binary(_, value) => value.as_encoded_bytes().len(),
            })
            .sum();
        // The status' message travels percent-encoded: three bytes for one.
        assert!(carried + 3 * status.message().len() < 15 * 1024, "{carried}");
        let back = from_status(&status).expect("still a fault");
        assert!(back.message.starts_with("éé") && back.message.ends_with('…'));
    }

    #[test]
    fn a_refusal_of_the_connection_itself_is_a_fault_by_its_text() {
        let status = Status::permission_denied("BTN-0302 this call is for an operator.");
        assert_eq!(from_status(&status), Some(Fault::new("BTN-0302", "this call is for an operator.", "")));
        for text in ["no code", "BTN-12 short", "BTN-01020 long", "BTN-abcd letters", "BTN-0102"] {
            assert_eq!(from_status(&Status::internal(text)), None, "{text}");
        }
    }

    #[test]
    fn a_redirect_is_no_fault_and_a_fault_no_redirect() {
        let to = not_leader(Some("127.0.0.1:7402"));
        assert_eq!(to.code(), Code::FailedPrecondition);
        assert_eq!(redirect(&to), Some(Redirect::To("127.0.0.1:7402".into())));
        assert_eq!(redirect(&not_leader(None)), Some(Redirect::Unknown));
        assert_eq!(from_status(&to), None);
        assert_eq!(redirect(&Status::unavailable("x")), None);
    }
}
