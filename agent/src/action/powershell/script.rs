//! The script that a shell is given: always the same text, and one base64 literal with what to call.
//!
//! Apart and pure because this is the only door to an interpreter. Names (modules, cmdlets, parameters) are letters and digits
//! and are looked up, never interpreted; values are data from end to end.
//!
//! Why it looks as it does (about_PowerShell_exe, about_CommonParameters, about_Preference_Variables, ConvertTo-Json):
//! - A cmdlet's ordinary error neither ends the script nor changes the exit code: `$ErrorActionPreference`, `-ErrorAction Stop` where
//!   the command takes it, then `$?` and `$Error` are all asked.
//! - ConvertFrom-Json makes dates of texts that look like one, and folds keys that differ in case: a text begins with `=`, and a
//!   map is a list of pairs.
//! - ConvertTo-Json writes enumerations as numbers (PoolState 1): the result is made plain first.
//! - The console's code page is anybody's guess: the reply is ASCII.
//! - `-Confirm:$false` is the runbook's to give, as a parameter: not every cmdlet takes it. With -NonInteractive a question is an error.

use base64::{Engine, engine::general_purpose::STANDARD};
use baton_model::action::exec::Cmdlet;
use serde_json::{Value, json};

/// Windows takes 32767 characters for a whole command line.
const COMMAND_LINE_MAX: usize = 32_000;
const SCRIPT: &str = include_str!("call.ps1");
const PLACE: &str = "@DATA@";
/// Parameters that would undo what the script relies on, and their short names.
const RESERVED: &[&str] =
    &["erroraction", "ea", "errorvariable", "ev", "outvariable", "ov", "outbuffer", "ob", "pipelinevariable", "pv"];

/// The whole command line.
pub fn argv(shell: &str, modules: &[String], cmdlet: &Cmdlet) -> Result<Vec<String>, String> {
    let encoded = STANDARD.encode(utf16(&text(modules, cmdlet)));
    let argv: Vec<String> =
        [shell, "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-EncodedCommand", &encoded]
            .map(str::to_owned)
            .into();
    let length: usize = argv.iter().map(|argument| argument.len() + 3).sum();
    match length <= COMMAND_LINE_MAX {
        true => Ok(argv),
        false => {
            Err(format!("its parameters make a command line of {length} characters; {COMMAND_LINE_MAX} are possible"))
        }
    }
}

fn text(modules: &[String], cmdlet: &Cmdlet) -> String {
    let parameters: Vec<Value> =
        cmdlet.parameters.iter().map(|(name, value)| json!({ "k": format!("={name}"), "v": node(value) })).collect();
    let data = json!({
        "modules": modules,
        "cmdlet": cmdlet.cmdlet,
        "parameters": { "t": "map", "v": parameters },
    });
    SCRIPT.replace(PLACE, &STANDARD.encode(data.to_string()))
}

fn node(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "t": "null" }),
        Value::Bool(value) => json!({ "t": "value", "v": value }),
        Value::Number(value) => json!({ "t": "value", "v": value }),
        Value::String(text) => json!({ "t": "text", "v": format!("={text}") }),
        Value::Array(items) => json!({ "t": "list", "v": items.iter().map(node).collect::<Vec<_>>() }),
        Value::Object(map) => {
            let pairs: Vec<Value> =
                map.iter().map(|(key, value)| json!({ "k": format!("={key}"), "v": node(value) })).collect();
            json!({ "t": "map", "v": pairs })
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Letters, digits, dots and underscores: a name, and no path to a file that would be run.
pub fn check_modules(modules: &[String]) -> Result<(), String> {
    let good = |name: &&String| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= 100
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
    };
    match modules.iter().find(|name| !good(name)) {
        Some(wrong) => Err(format!("{wrong:?} is not the name of a module")),
        None => Ok(()),
    }
}

/// A verb, a hyphen, a noun; parameters by their names.
pub fn check_cmdlet(cmdlet: &Cmdlet) -> Result<(), String> {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.len() <= 80
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let name = &cmdlet.cmdlet;
    if !name.split_once('-').is_some_and(|(verb, noun)| word(verb) && word(noun)) {
        return Err(format!("{name:?} is not the name of a cmdlet, as Get-Something is"));
    }
    for parameter in cmdlet.parameters.keys() {
        if !word(parameter) {
            return Err(format!("{name}: {parameter:?} is not the name of a parameter"));
        }
        if RESERVED.contains(&parameter.to_ascii_lowercase().as_str()) {
            return Err(format!("{name}: {parameter} is not the runbook's to give: an error always stops the cmdlet"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cmdlet(name: &str, parameters: Value) -> Cmdlet {
        let parameters = parameters.as_object().expect("a map").clone().into_iter().collect();
        Cmdlet { cmdlet: name.to_owned(), parameters }
    }

    /// What the shell would read, decoded by hand.
    fn script(argv: &[String]) -> String {
        let bytes = STANDARD.decode(argv.last().expect("the command")).expect("base64");
        let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        String::from_utf16(&units).expect("UTF-16")
    }

    #[test]
    fn the_shell_reads_no_profile_asks_nobody_and_takes_the_command_last() {
        let argv = argv("/bin/pwsh", &["Lync".to_owned()], &cmdlet("Get-X", json!({}))).expect("short");
        assert_eq!(
            argv[..6],
            ["/bin/pwsh", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-EncodedCommand"]
        );
        assert_eq!(argv.len(), 7);
        assert!(script(&argv).starts_with("$ErrorActionPreference = 'Stop'\n"));
        assert_eq!(SCRIPT.matches(PLACE).count(), 1);
    }

    #[test]
    fn names_that_are_more_than_names_are_refused() {
        for name in ["Get-X; calc", "Get-*", "get-x", "calc", "Get-X\n", "-X", "Get-", "Mod\\Get-X", "Get-X-Y", "./x-Y"]
        {
            assert!(check_cmdlet(&cmdlet(name, json!({}))).is_err(), "{name:?}");
        }
        for parameter in ["A B", "-A", "", "A;B", "ErrorAction", "EA", "a"] {
            assert!(check_cmdlet(&cmdlet("Get-X", json!({ parameter: 1 }))).is_err(), "{parameter:?}");
        }
        for module in ["../evil", "C:\\x.psm1", "/tmp/x.psm1", "a b", "", "1", "$x"] {
            assert!(check_modules(&[module.to_owned()]).is_err(), "{module:?}");
        }
        assert!(check_cmdlet(&cmdlet("Set-CsPersistentChatState", json!({ "Identity": "service:x" }))).is_ok());
        assert!(check_modules(&["Lync".to_owned(), "Microsoft.PowerShell.Utility".to_owned()]).is_ok());
    }

    #[test]
    fn a_command_line_that_windows_would_cut_is_refused() {
        assert!(argv("/p", &[], &cmdlet("Get-X", json!({ "A": "x".repeat(20_000) }))).is_err());
    }

    proptest! {
        #[test]
        fn no_value_becomes_part_of_the_script(value in ".*", key in ".*") {
            let call = cmdlet("Set-X", json!({ "Value": value, "Map": { &key: [&value, null, true, 1.5] } }));
            let script = text(&["M".to_owned()], &call);
            let (before, after) = SCRIPT.split_once(PLACE).expect("one place");
            let data = script.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).expect("the script around it");
            prop_assert!(data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)));
            let data: Value = serde_json::from_slice(&STANDARD.decode(data).expect("base64")).expect("JSON");
            let seen = &data["parameters"]["v"][1];
            prop_assert_eq!(seen["k"].as_str(), Some("=Value"));
            let marked = format!("={value}");
            prop_assert_eq!(seen["v"]["v"].as_str(), Some(marked.as_str()));
        }
    }
}
