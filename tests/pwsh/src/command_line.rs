//! PowerShell's command line, as far as it is used here; anything else is refused.

use base64::{Engine, engine::general_purpose::STANDARD};

/// The text of `-EncodedCommand`: base64 of UTF-16LE, and the last argument.
pub fn encoded_command(arguments: &[String]) -> Result<String, String> {
    let expected = ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-EncodedCommand"];
    let [options @ .., encoded] = arguments else {
        return Err("no arguments; an interactive shell is not here".to_owned());
    };
    if options != expected {
        return Err(format!("expected {expected:?} and a command, and not {options:?}"));
    }
    let bytes = STANDARD.decode(encoded).map_err(|error| format!("-EncodedCommand is not base64: {error}"))?;
    if bytes.len() % 2 != 0 {
        return Err("-EncodedCommand is not UTF-16".to_owned());
    }
    let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from(pair[0]) | u16::from(pair[1]) << 8).collect();
    String::from_utf16(&units).map_err(|error| format!("-EncodedCommand is not UTF-16: {error}"))
}
