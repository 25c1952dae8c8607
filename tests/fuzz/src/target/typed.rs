//! What is typed or configured: names, addresses, times, inputs, URLs; configuration and policy files.

use std::{fmt::Display, path::Path, str::FromStr};

use baton_agent::{action::wait::http, policy::Policy};
use baton_cli::arguments::{AddressList, Assignment};
use baton_model::{
    group::Window,
    ids::{GroupName, HostName, RunId, RunbookName},
    runbook::{Input, InputType, Selector},
    time::{Moment, Span},
};
use baton_platform::{address::Address, config, identity};

use super::{Target, all_of, shape_of, text};
use crate::corpus::texts;

pub(super) const ALL: &[Target] = &[
    Target { name: "typed", what: "names, addresses, times, inputs and URLs", corpus: words, feed: typed },
    Target { name: "window", what: "maintenance windows, and when they open", corpus: windows, feed: window },
    Target { name: "configuration", what: "configuration and policy files", corpus: files, feed: configured },
    Target { name: "certificate", what: "who a certificate names", corpus: certificates, feed: certificate },
];

fn words() -> Vec<Vec<u8>> {
    [
        "500ms",
        "1h30m",
        "0s",
        "18446744073709551615ms",
        "pom-17",
        "desktone-provider-1",
        "db1.example.org:7400",
        "[::1]:7400",
        "10.0.0.1:65535",
        "10.0.0.1:1433/master",
        "a:1,b:2",
        "name=value",
        "active_servers=a,b",
        "window=the night shift",
        "old.database",
        "new.pom-primary",
        "host:${input.x}",
        "others.chat",
        "host:h1",
        "22:00",
        "24:00",
        "Europe/Berlin",
        "true",
        "-3",
        "9223372036854775808",
        "http://[::1]:8080/a?b=c#d",
        "https://h/",
        "baton://host/pomdb1",
        "baton://operator/alice?role=admin",
        "baton://coordinator/c1",
        "viewer",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// What is read and written must be the same when it is read again.
fn again<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) -> u64 {
    let read = text.parse::<T>();
    if let Ok(value) = &read {
        let written = value.to_string();
        let back = written.parse::<T>();
        assert!(
            back.as_ref().is_ok_and(|back| back == value),
            "{text:?} is written as {written:?}, which is something else"
        );
    }
    shape_of(read.map(|_| ()))
}

fn typed(case: &[u8]) -> u64 {
    let text = text(case);
    let inputs =
        [InputType::String, InputType::Integer, InputType::Boolean, InputType::List, InputType::Choice].map(|kind| {
            let choices =
                if kind == InputType::Choice { vec!["full".to_owned(), "data".to_owned()] } else { Vec::new() };
            let input = Input { kind, required: false, default: None, description: String::new(), choices };
            shape_of(input.read(&text))
        });
    all_of([
        again::<Span>(&text),
        again::<RunId>(&text),
        again::<GroupName>(&text),
        again::<HostName>(&text),
        again::<RunbookName>(&text),
        again::<Selector>(&text),
        again::<Address>(&text),
        again::<identity::Identity>(&text),
        shape_of(text.parse::<identity::Role>()),
        shape_of(text.parse::<AddressList>()),
        shape_of(text.parse::<Assignment>()),
        shape_of(http::Target::parse(&text)),
        all_of(inputs),
    ])
}

fn windows() -> Vec<Vec<u8>> {
    [
        r#"{"days":["sat","sun"],"from":"22:00","to":"04:00","time_zone":"Europe/Berlin"}"#,
        r#"{"from":"02:30","to":"02:30","time_zone":"America/New_York"}"#,
        r#"{"days":["sun"],"from":"02:00","to":"03:00","time_zone":"Australia/Lord_Howe"}"#,
        r#"{"from":"00:00","to":"23:59","time_zone":"Pacific/Apia"}"#,
        r#"{"from":"23:59","to":"00:00","time_zone":"Africa/Casablanca"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn window(case: &[u8]) -> u64 {
    let read: Result<Window, _> = serde_json::from_slice(case);
    let Ok(window) = &read else { return shape_of(read.map(drop)) };
    // Moments out of the case itself, from 1970 to the year 10000 and beyond.
    let seed = case.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    for at in [0, seed % 253_402_300_800_000, u64::MAX, 1_774_746_000_000 + seed % 86_400_000] {
        let at = Moment(at);
        let next = window.next_opening(at);
        drop((window.closing(at), window.told(at)));
        if let Some(next) = next {
            assert!(window.is_open(next), "it is open when it opens: {next:?}");
        }
        for (opens, closes) in window.openings(at, 4) {
            assert!(opens < closes, "it closes after it has opened: {opens:?} {closes:?}");
        }
    }
    shape_of(read)
}

fn files() -> Vec<Vec<u8>> {
    texts("deploy/samples", ".toml")
}

fn configured(case: &[u8]) -> u64 {
    let (text, path) = (text(case), Path::new("/case.toml"));
    let agent = config::parse::<baton_agent::configuration::Configuration>(&text, path);
    let checked = agent.as_ref().ok().map(baton_agent::configuration::Configuration::check);
    all_of([
        shape_of(agent.map(drop)),
        shape_of(checked.unwrap_or(Ok(()))),
        shape_of(config::parse::<baton_coordinator::config::Config>(&text, path).map(drop)),
        shape_of(Policy::parse(path, &text).map(drop)),
    ])
}

fn certificates() -> Vec<Vec<u8>> {
    let names = ["baton://host/pomdb1", "baton://operator/alice?role=admin", "baton://coordinator/c1"];
    let made = names.iter().filter_map(|name| {
        let mut params = rcgen::CertificateParams::new(vec!["pomdb1".to_owned()]).ok()?;
        params.subject_alt_names.push(rcgen::SanType::URI((*name).try_into().ok()?));
        let key = rcgen::KeyPair::generate().ok()?;
        Some(params.self_signed(&key).ok()?.der().to_vec())
    });
    made.collect()
}

fn certificate(case: &[u8]) -> u64 {
    shape_of(identity::of_certificate(case))
}
