//! Takes the values of secrets out of whatever leaves a task.
//!
//! Apart because output comes in pieces, and a value may lie across two of them. It must never let a byte through before
//! it is certain that no value begins there.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use zeroize::Zeroizing;

use super::Secret;

/// The values that a task resolved.
#[derive(Default)]
pub struct Redactor {
    known: RwLock<Vec<Known>>,
}

struct Known {
    value: Zeroizing<Vec<u8>>,
    shown: String,
}

impl Redactor {
    /// From now on this value is replaced by `[secret NAME]`, as it is and as JSON and Rust escape it. An empty value hides nothing.
    pub fn remember(&self, name: &str, value: &Secret) {
        let escaped = Zeroizing::new(Value::String(value.expose().to_owned()).to_string());
        let forms = [value.expose(), &escaped[1..escaped.len() - 1]];
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms {
            if !form.is_empty() && !known.iter().any(|k| k.value.as_slice() == form.as_bytes()) {
                let value = Zeroizing::new(form.as_bytes().to_vec());
                known.push(Known { value, shown: format!("[secret {name}]") });
            }
        }
        // The longest first: one secret may be the beginning of another.
        known.sort_by_key(|k| std::cmp::Reverse(k.value.len()));
    }

    /// A text with every value replaced.
    pub fn redact(&self, text: &str) -> String {
        let (clean, _) = self.replace(text.as_bytes(), true);
        String::from_utf8_lossy(&clean).into_owned()
    }

    /// The same for every string of a document, keys included.
    pub fn redact_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.redact_value(item)).collect()),
            Value::Object(map) => Value::Object(
                map.into_iter().map(|(key, value)| (self.redact(&key), self.redact_value(value))).collect(),
            ),
            // A password of digits alone would pass as a number.
            Value::Number(number) => {
                let text = number.to_string();
                let clean = self.redact(&text);
                if clean == text { Value::Number(number) } else { Value::String(clean) }
            }
            other => other,
        }
    }

    /// Replaces values in `bytes`; without `last`, stops where a value may begin that is not complete yet. Returns what
    /// is clean, and how many bytes were used up.
    fn replace(&self, bytes: &[u8], last: bool) -> (Vec<u8>, usize) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return (bytes.to_vec(), bytes.len());
        }
        let mut clean = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            // A longer value that is not complete yet must be waited for even where a shorter one is.
            if !last && known.iter().any(|k| rest.len() < k.value.len() && k.value.starts_with(rest)) {
                return (clean, at);
            }
            match known.iter().find(|k| rest.starts_with(&k.value)) {
                Some(found) => {
                    clean.extend_from_slice(found.shown.as_bytes());
                    at += found.value.len();
                }
                None => {
                    clean.push(bytes[at]);
                    at += 1;
                }
            }
        }
        (clean, at)
    }
}

/// Redacts bytes that come in pieces.
pub struct Stream {
    redactor: Arc<Redactor>,
    held: Zeroizing<Vec<u8>>,
}

impl Stream {
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, held: Zeroizing::default() }
    }
    /// What can be let through now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let (clean, used) = self.redactor.replace(&self.held, false);
        self.held.drain(..used);
        clean
    }
    /// What was held back; nothing follows it.
    pub fn finish(&mut self) -> Vec<u8> {
        let (clean, _) = self.redactor.replace(&self.held, true);
        self.held.clear();
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(values: &[(&str, &str)]) -> Arc<Redactor> {
        let redactor = Redactor::default();
        values.iter().for_each(|(name, value)| redactor.remember(name, &Secret::new((*value).to_owned())));
        Arc::new(redactor)
    }

    #[test]
    fn a_secret_that_begins_another_does_not_uncover_it() {
        let redactor = redactor(&[("short", "pass"), ("long", "password")]);
        assert_eq!(redactor.redact("a password, a pass"), "a [secret long], a [secret short]");
    }

    #[test]
    fn escaped_forms_and_documents_are_clean_too() {
        let redactor = redactor(&[("p", "a\"b\nc"), ("n", "4711")]);
        assert_eq!(redactor.redact(r#"said "a\"b\nc" and"#), r#"said "[secret p]" and"#);
        let clean = redactor.redact_value(serde_json::json!({ "x": ["a\"b\nc", 4711], "4711": 12 }));
        assert_eq!(clean, serde_json::json!({ "x": ["[secret p]", "[secret n]"], "[secret n]": 12 }));
    }

    proptest! {
        #[test]
        fn a_value_across_pieces_is_found_and_nothing_else_is_lost(
            parts in prop::collection::vec(prop_oneof![Just("hunter2".to_owned()), Just("hunt".to_owned()), "[a-z ]{0,5}"], 0..12),
            cuts in prop::collection::vec(1usize..5, 1..60),
        ) {
            let text = parts.concat();
            let redactor = redactor(&[("s", "hunter2")]);
            let mut stream = Stream::new(redactor.clone());
            let mut out = Vec::new();
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                let cut = cuts.next().expect("endless").min(rest.len());
                out.extend(stream.push(&rest[..cut]));
                rest = &rest[cut..];
            }
            out.extend(stream.finish());
            let out = String::from_utf8(out).expect("text");
            prop_assert_eq!(&out, &text.replace("hunter2", "[secret s]"));
            prop_assert!(!out.contains("hunter2"));
        }
    }
}
