//! What the script answers: one line of JSON, told from whatever else a shell prints.
//!
//! Apart and pure because a shell prints warnings, banners and its host's chatter into the same stream. Only a line of exactly our
//! form counts, and only the last one: anything else is no answer.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

const BEGINS: &str = "{\"baton\":1,";

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    #[serde(rename = "baton")]
    _version: u32,
    pub ok: bool,
    pub result: Value,
    pub errors: Vec<Complaint>,
}

/// An error record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complaint {
    pub message: String,
    /// FullyQualifiedErrorId, or nothing.
    pub id: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (message, id) = (on_one_line(&self.message), on_one_line(&self.id));
        if id.is_empty() { f.write_str(&message) } else { write!(f, "{message} [{id}]") }
    }
}

impl Reply {
    /// The lines that are none of ours, and the reply.
    pub fn find(text: &str) -> (Vec<String>, Option<Self>) {
        let mut said: Vec<String> = Vec::new();
        let mut reply = None;
        for line in text.lines().map(str::trim_end) {
            match line.starts_with(BEGINS).then(|| serde_json::from_str(line).ok()).flatten() {
                Some(found) => reply = Some(found),
                None if line.trim().is_empty() => {}
                None => said.push(line.to_owned()),
            }
        }
        (said, reply)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_is_found_among_chatter() {
        let text =
            "WARNING: old\r\n\r\n{\"baton\":1,\"ok\":true,\"result\":{\"PoolState\":\"Normal\"},\"errors\":[]}\r\n";
        let (said, reply) = Reply::find(text);
        assert_eq!(said, ["WARNING: old"]);
        assert_eq!(reply.expect("a reply").result["PoolState"], "Normal");
    }

    #[test]
    fn what_only_looks_like_a_reply_is_none() {
        for text in [
            "",
            "True",
            "{\"baton\":1,\"ok\":true}",
            "{\"baton\":1,\"ok\":true,\"result\":1,\"errors\":[]",
            "x{\"baton\":1,\"ok\":true,\"result\":1,\"errors\":[]}",
            "{\"baton\":1,\"ok\":\"true\",\"result\":1,\"errors\":[]}",
        ] {
            assert_eq!(Reply::find(text).1, None, "{text}");
        }
    }

    #[test]
    fn an_error_is_one_line_with_its_id() {
        let complaint = Complaint { message: "no\r\n  such  pool".to_owned(), id: "Error,Set-X".to_owned() };
        assert_eq!(complaint.to_string(), "no such pool [Error,Set-X]");
        // Found by feeding it whatever bytes.
        let complaint = Complaint { message: "no".to_owned(), id: "\r\nError\n".to_owned() };
        assert_eq!(complaint.to_string(), "no [Error]");
    }

    proptest! {
        #[test]
        fn anything_can_be_read(text in "(\\PC|\n|\\{\"baton\":1,){0,200}") {
            let _ = Reply::find(&text);
        }
    }
}
