//! Looks for a value in every file, in every form in which it could have got there.
//!
//! Apart because the test of secrets is worth as much as this search: it must find what is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::Engine as _;

/// The forms of a value that a careless program leaves behind.
pub fn forms(value: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = value.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::to_string(value).expect("a string");
    let debug = format!("{value:?}");
    let list = format!("{bytes:?}");
    let percent: String = bytes
        .iter()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(*byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    let properties: String = value
        .encode_utf16()
        .map(|unit| match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(b'\\') => "\\\\".to_owned(),
            Some(byte) => char::from(byte).to_string(),
            None => format!("\\u{unit:04X}"),
        })
        .collect();
    let mut forms = vec![
        ("as it is", bytes.to_vec()),
        ("as hexadecimal", hex.clone().into_bytes()),
        ("as upper hexadecimal", hex.to_uppercase().into_bytes()),
        ("as JSON", json.trim_matches('"').as_bytes().to_vec()),
        ("as Rust shows it", debug.trim_matches('"').as_bytes().to_vec()),
        ("as a list of bytes", list.trim_matches(|c| c == '[' || c == ']').as_bytes().to_vec()),
        ("as a URL", percent.into_bytes()),
        ("as a .properties file", properties.into_bytes()),
    ];
    // Wherever the value begins within the coded bytes, this part of the code is the same.
    for (lead, skip) in [(0, 0), (1, 2), (2, 3)] {
        let mut shifted = vec![0; lead];
        shifted.extend(bytes);
        let whole = shifted.len() / 3 * 3;
        for engine in
            [base64::engine::general_purpose::STANDARD_NO_PAD, base64::engine::general_purpose::URL_SAFE_NO_PAD]
        {
            let coded = engine.encode(&shifted[..whole]);
            forms.push(("as base64", coded.as_bytes()[skip..].to_vec()));
        }
    }
    // JSON in JSON, as a document in a log line.
    let twice = serde_json::to_string(&json).expect("a string");
    forms
        .push(("as JSON in JSON", twice.trim_matches('"').trim_matches(|c| c == '\\' || c == '"').as_bytes().to_vec()));
    forms
}

/// Which form of the value these bytes hold.
pub fn holds(bytes: &[u8], value: &str) -> Option<&'static str> {
    forms(value).into_iter().find(|(_, form)| contains(bytes, form)).map(|(name, _)| name)
}

fn contains(bytes: &[u8], form: &[u8]) -> bool {
    assert!(form.len() >= 8, "too short to mean anything");
    // The C library's, because logs at trace are large, and tests are built without optimisation.
    // SAFETY: both pointers are of slices that live through the call, with their own lengths.
    let found = unsafe { libc::memmem(bytes.as_ptr().cast(), bytes.len(), form.as_ptr().cast(), form.len()) };
    !found.is_null()
}

/// Every file below the folder that holds the value, and in which form.
pub fn files_with(folder: &Path, value: &str) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    for file in files(folder) {
        let bytes = fs::read(&file).unwrap_or_default();
        if let Some(form) = holds(&bytes, value) {
            found.push((file, form));
        }
    }
    found
}

/// Every regular file below the folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_wherever_it_begins() {
        let value = "corr\"ect ho\\rse/7";
        for lead in 0..4 {
            let text = format!("{}{value}and more", "x".repeat(lead));
            let coded = base64::engine::general_purpose::STANDARD.encode(&text);
            assert_eq!(holds(coded.as_bytes(), value), Some("as base64"), "{lead}");
            assert_eq!(holds(text.as_bytes(), value), Some("as it is"));
            assert!(holds(format!("{:?}", text.as_bytes()).as_bytes(), value).is_some());
            assert!(holds(format!("{text:?}").as_bytes(), value).is_some());
        }
        assert_eq!(holds(b"correct horse 7", value), None);
    }
}
