//! What an edit changes, as a person reads it, without what a person must not read.
//!
//! Apart because it leaves the host: values of this task's secrets, old values that a secret replaces, and values of
//! keys that sound like a password are not shown, changed or not.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use similar::{ChangeTag, TextDiff};

use crate::secrets::Redactor;

/// Longer ones are cut: they go into the log.
const BYTES_MAX: usize = 12 * 1024;

static SENSITIVE: LazyLock<Regex> = LazyLock::new(|| {
    let key = r"(?im)^([ \t]*[^\s=:]*(?:passw|passphrase|pwd|secret|token|credential|private[._-]?key)[^\s=:]*[ \t]*[=:\s][ \t]*)(\S[^\r\n]*)$";
    Regex::new(key).expect("the pattern is fixed and a test uses it")
});

/// What a diff must not show beside the values of secrets.
#[derive(Debug, Default, Clone)]
pub struct Hidden {
    /// Old values that a secret is about to replace: they are secrets too.
    pub values: Vec<String>,
    /// The whole file is built around a secret: what was there cannot be told apart from it.
    pub everything: bool,
}

/// A unified diff.
pub fn unified(path: &Path, old: &[u8], new: &[u8], hidden: &Hidden, redactor: &Redactor) -> String {
    let name = path.display();
    if hidden.everything {
        return format!(
            "{name}: {} bytes are replaced by {}; not shown, because it holds a secret",
            old.len(),
            new.len()
        );
    }
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        return format!("{name}: {} bytes are replaced by {}; not shown, because it is no text", old.len(), new.len());
    };
    let clean = |text: &str| {
        let mut text = redactor.redact(text);
        for value in hidden.values.iter().filter(|value| !value.is_empty()) {
            text = text.replace(value, "[hidden]");
        }
        SENSITIVE.replace_all(&text, "${1}[hidden]").into_owned()
    };
    let (clean_old, clean_new) = (clean(old), clean(new));
    let diff = TextDiff::from_lines(clean_old.as_str(), clean_new.as_str());
    let label = name.to_string();
    let mut text = diff.unified_diff().context_radius(2).header(&label, &label).to_string();
    if text.len() > BYTES_MAX {
        let cut = (0..=BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(cut);
        text.push_str("\n… cut\n");
    }
    let unseen = changed_lines(old, new).saturating_sub(changed_lines(&clean_old, &clean_new));
    if unseen > 0 {
        text.push_str(&format!(
            "{name}: {unseen} changed line(s) not shown, because they differ in a hidden value only\n"
        ));
    }
    text
}

fn changed_lines(old: &str, new: &str) -> usize {
    TextDiff::from_lines(old, new).iter_all_changes().filter(|change| change.tag() == ChangeTag::Insert).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_others_do_not_leave_the_host_with_the_lines_around_a_change() {
        let old = "db.password=hunter2\nhost=a\nAPI_TOKEN : abc\nmail.pwd=\n";
        let new = "db.password=hunter2\nhost=b\nAPI_TOKEN : abc\nmail.pwd=\n";
        let text =
            unified(Path::new("/etc/x"), old.as_bytes(), new.as_bytes(), &Hidden::default(), &Redactor::default());
        assert!(text.contains("-host=a\n+host=b\n"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("abc"), "{text}");
        let other =
            unified(Path::new("/etc/x"), b"password=a1\n", b"password=b2\n", &Hidden::default(), &Redactor::default());
        assert!(other.contains("1 changed line(s) not shown") && !other.contains("b2"), "{other}");
    }
}
