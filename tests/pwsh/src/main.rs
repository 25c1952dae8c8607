//! `baton-pwsh`: takes PowerShell's command line and does what a management shell of Lync would do with one cmdlet.
//!
//! Apart from the product, which must not know it: it shares no code with what builds the script, and it is **not** PowerShell. It
//! proves that the right cmdlets arrive with the right parameters, and that every way in which the real ones fail is understood.
//! That the script itself does what it says on a real PowerShell it cannot prove.
//!
//! The world is a file beside the program as it was called: `lync.json` (see [`world`]); `lync-faults.json` says what shall go wrong
//! next (see [`fault`]); `lync-calls.jsonl` is what was called.

use std::{io::Write, path::Path, process::ExitCode};

use serde_json::{Value, json};

mod cmdlet;
mod command_line;
mod fault;
mod parameter;
mod script;
mod world;

use fault::Fault;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let own = Path::new(arguments.first().map_or("", String::as_str));
    let directory = own.parent().map(Path::to_owned).unwrap_or_default();
    match run(&arguments, &directory) {
        Ok(ended) => ended,
        Err(why) => {
            eprintln!("baton-pwsh: {why}");
            ExitCode::from(64)
        }
    }
}

fn run(arguments: &[String], directory: &Path) -> Result<ExitCode, String> {
    let text = command_line::encoded_command(arguments.get(1..).unwrap_or_default())?;
    let call = script::read(&text)?;
    let mut world = world::World::open(directory)?;
    world.note(&call)?;
    let fault = fault::take(directory, &call.cmdlet)?;
    if let Some(Fault::Slow { milliseconds }) = &fault {
        std::thread::sleep(std::time::Duration::from_millis(*milliseconds));
    }
    match &fault {
        Some(Fault::Silent) => return Ok(ExitCode::SUCCESS),
        Some(Fault::DieBefore) => std::process::abort(),
        Some(Fault::Terminating { message }) => {
            return Ok(reply(Err(vec![(message.clone(), "Injected".to_owned())]), Value::Null));
        }
        _ => {}
    }
    let outcome = match world.check_modules(&call.modules) {
        Ok(()) => cmdlet::invoke(&call, &mut world.state),
        Err(error) => Err(error),
    };
    if outcome.is_ok() {
        if !call.cmdlet.starts_with("Get-") {
            *world.state.performed.entry(call.cmdlet.clone()).or_default() += 1;
        }
        world.save()?;
    }
    match fault {
        Some(Fault::DieAfter) => std::process::abort(),
        // The cmdlet writes an error and goes on: what it returned is returned too.
        Some(Fault::NonTerminating { message }) => {
            let (result, mut errors) = match outcome {
                Ok(result) => (result, Vec::new()),
                Err(error) => (Value::Null, vec![error]),
            };
            errors.push((message, "NonTerminating".to_owned()));
            Ok(reply(Err(errors), result))
        }
        Some(Fault::Chatty) => {
            println!("WARNING: the topology document is older than this shell\r\n");
            Ok(reply(outcome.map_err(|error| vec![error]), Value::Null))
        }
        _ => Ok(reply(outcome.map_err(|error| vec![error]), Value::Null)),
    }
}

/// The script's last lines.
fn reply(outcome: Result<Value, Vec<cmdlet::Error>>, beside: Value) -> ExitCode {
    let (ok, result, errors) = match outcome {
        Ok(result) => (true, result, Vec::new()),
        Err(errors) => (false, beside, errors),
    };
    let errors: Vec<Value> = errors.iter().map(|(message, id)| json!({ "message": message, "id": id })).collect();
    // Written by hand: the order of the keys is the script's.
    let text = format!(
        "{{\"baton\":1,\"ok\":{ok},\"result\":{result},\"errors\":{}}}",
        serde_json::to_string(&errors).expect("text")
    );
    let ascii: String = text
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte @ 0x20..=0x7e) => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{ascii}\r\n").and_then(|()| out.flush());
    ExitCode::from(u8::from(!ok))
}
