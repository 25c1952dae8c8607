//! What an agent meets on its host: property files, pages, a shell's replies, what instances say; and the actions it is asked for.

use std::sync::Arc;

use baton_agent::{
    action::{
        file::{escapes, properties::Document},
        mssql::chain::Lsn,
        powershell::reply::Reply,
        wait::http,
    },
    secrets::{
        Secret,
        redaction::{Redactor, Stream},
    },
};
use baton_model::{
    action::Action,
    bill::{Bill, Kept, Parties, Sampled, Samples, bounded},
    parse::parse_runbook,
    time::Moment,
};
use serde_json::{Value, json};

use super::{Target, all_of, shape, shape_of, text};
use crate::corpus::texts;

pub(super) const ALL: &[Target] = &[
    Target { name: "properties", what: "property files, edited", corpus: property_files, feed: properties },
    Target { name: "page", what: "what a web server answers", corpus: pages, feed: page },
    Target { name: "reply", what: "what a shell answers, and LSNs", corpus: replies, feed: reply },
    Target { name: "action", what: "actions and their parameters", corpus: actions, feed: action },
    Target {
        name: "sample",
        what: "what hosts say of their databases, and the bill made of it",
        corpus: samples,
        feed: sample,
    },
    Target { name: "redaction", what: "output in which a secret may stand", corpus: outputs, feed: redacted },
];

fn property_files() -> Vec<Vec<u8>> {
    [
        "# comment\ndb.host=10.0.0.1\ndb.port : 5432\n  list = a, b,c\n! other\nlong = one \\\n    two\nkey\\ with\\=signs value\nunicode=\\u00e9\\ud83d\\ude00\n\nlast=no end",
        "a=1\r\na=2\r\n",
        "\\\n",
        "k\\\\=v\\\\\r",
        "=\n:\n \n#\\\nx",
        "\u{feff}größe=groß\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn properties(case: &[u8]) -> u64 {
    let document = Document::parse(case);
    assert_eq!(document.to_bytes(), case, "what nobody edits stays byte for byte");
    // A key and a value out of the case itself, and plain ones.
    let third = text(&case[..case.len() / 3]);
    let (key, value) = third.split_at(third.char_indices().nth(third.chars().count() / 2).map_or(0, |(at, _)| at));
    for (key, value) in [(key, value), ("db.host", "10.0.0.2"), ("list", third.as_str())] {
        let mut edited = document.clone();
        edited.set(key, value);
        let read = Document::parse(&edited.to_bytes());
        assert_eq!(read.get(key).as_deref(), Some(value), "what was set of {key:?} is read");
        let mut gone = edited.clone();
        gone.unset(key);
        assert_eq!(Document::parse(&gone.to_bytes()).get(key), None, "{key:?} is gone");
        edited.add_to_list(key, "item");
        edited.remove_from_list(key, "item");
        edited.remove_from_list("*", value);
        drop(Document::parse(&edited.to_bytes()));
    }
    shape(&escapes::decode(case).chars().filter(|c| !c.is_alphanumeric()).take(60).collect::<String>())
}

fn pages() -> Vec<Vec<u8>> {
    [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2;x=y\r\ndy\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 Busy\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn page(case: &[u8]) -> u64 {
    let read = [false, true].map(|ended| http::page(case, ended));
    for page in read.iter().flatten() {
        assert!(page.body.len() <= case.len(), "no byte out of nothing");
    }
    shape(&format!("{:?}", read.map(|page| page.map(|page| (page.status, page.body.is_empty())))))
}

fn replies() -> Vec<Vec<u8>> {
    [
        "WARNING: old\r\n\r\n{\"baton\":1,\"ok\":true,\"result\":{\"PoolState\":\"Normal\"},\"errors\":[]}\r\n",
        "{\"baton\":1,\"ok\":false,\"result\":null,\"errors\":[{\"message\":\"no\\r\\n such pool\",\"id\":\"E,X\"}]}",
        "34000000025600001",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn reply(case: &[u8]) -> u64 {
    let text = text(case);
    let (said, reply) = Reply::find(&text);
    let complaints: Vec<String> =
        reply.iter().flat_map(|reply| &reply.errors).map(|complaint| complaint.to_string()).collect();
    assert!(complaints.iter().all(|complaint| !complaint.contains('\n')), "a complaint is one line");
    if let Some(lsn) = Lsn::parse(&text) {
        assert_eq!(Lsn::parse(&lsn.to_string()), Some(lsn));
    }
    all_of([said.len().min(4) as u64, shape(&format!("{:?}", reply.map(|reply| (reply.ok, reply.result.is_object()))))])
}

/// Every action of the shipped runbooks: its name, and below it its parameters.
fn actions() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for text in texts("deploy/runbooks", ".yaml") {
        let Ok(runbook) = parse_runbook("r.yaml", &String::from_utf8_lossy(&text)) else { continue };
        for (_, action) in runbook.all_actions() {
            let mut params = action.params.clone();
            // As the planner leaves it.
            if let Some(connection) = params.get_mut("connection") {
                *connection = json!({ "kind": "sqlserver", "host": "10.0.0.1", "database": "master", "user": "b", "password": "${secret('s')}", "tls": "trust" });
            }
            params.as_object_mut().map(|fields| fields.remove("replicas"));
            found.push(format!("{}\n{params}", action.name).into_bytes());
        }
    }
    found
}

fn action(case: &[u8]) -> u64 {
    let text = text(case);
    let (name, params) = text.split_once('\n').unwrap_or((&text, "{}"));
    let Ok(params) = serde_json::from_str::<Value>(params) else { return 0 };
    let action = Action::parse(name, &params);
    let bound = action.as_ref().ok().map(|action| {
        // What it touches is found out before anything else is.
        let needs = baton_agent::policy::need::needs(action);
        all_of([shape(&format!("{needs:?}")), shape_of(baton_agent::action::bind(action).map(drop))])
    });
    all_of([shape_of(action.map(drop)), bound.unwrap_or_default()])
}

fn samples() -> Vec<Vec<u8>> {
    let row = |name: &str, replica: &str, log: u64, second: u64| {
        json!({
            "name": name, "replica": replica, "is_local": true, "synchronization_state": "SYNCHRONIZING", "is_failover_ready": false,
            "is_suspended": false, "end_of_log_lsn": log.to_string(), "last_hardened_lsn": log.to_string(),
            "last_commit_time": format!("2026-11-21T10:00:{second:02}.500"), "recovery_lsn": null, "log_send_queue_kb": 12,
        })
    };
    let said = |replica: &str, role: &str, rows: Vec<Value>| json!({ "taken_ms": 1, "replica": replica, "role": role, "databases": rows });
    let mut real = Vec::new();
    for ours in [900_u64, 700] {
        let old =
            said("SQL1", "PRIMARY", vec![row("a", "SQL1", 900, 7), row("b", "SQL1", 900, 7), row("a", "SQL2", 800, 5)]);
        let new = said("SQL2", "SECONDARY", vec![row("a", "SQL2", ours, 5), row("c", "SQL2", 100, 5)]);
        real.push(json!({ "old": old, "new": new }).to_string().into_bytes());
    }
    real
}

fn sample(case: &[u8]) -> u64 {
    let Ok(both) = serde_json::from_slice::<Value>(case) else { return 0 };
    let [Ok(old), Ok(new)] = ["old", "new"].map(|who| bounded(both[who].clone())) else { return 1 };
    let sampled = |seen: u64, data: Value| Sampled { seen: Moment(seen), data };
    let mut old = Kept::new(sampled(1_790_000_000_000, old));
    old.take(sampled(1_790_000_001_000, json!({ "role": "RESOLVING" })));
    let new = Kept::new(sampled(1_790_000_000_500, new));
    let hosts = [("h1", old), ("h2", new)];
    let hosts = hosts.map(|(host, kept)| (host.parse().expect("a host"), kept)).into();
    let samples: Samples = [("ag".parse().expect("a name"), hosts)].into();
    let parties = Parties {
        asked: [("ag".parse().expect("a name"), ["h1", "h2"].map(|host| host.parse().expect("a host")).to_vec())]
            .into(),
        old: ["h1".parse().expect("a host")].into(),
        target: ["h2".parse().expect("a host")].into(),
    };
    let bill = Bill::of(&samples, &parties, Moment(1_790_000_060_000));
    assert!(bill.worse_than(&bill).is_empty(), "a bill is not worse than itself: {:?}", bill.worse_than(&bill));
    let written = serde_json::to_vec(&bill).expect("a bill can be written");
    assert_eq!(serde_json::from_slice::<Bill>(&written).expect("and read"), bill);
    all_of([shape(&bill.verdict()), shape(&baton_cli::output::bill::render(&bill, &super::shown::look(80)))])
}

const SECRET: &str = "hunter2-hunter2";

fn outputs() -> Vec<Vec<u8>> {
    vec![
        format!("connecting with {SECRET}\nhunter2-hunter\n{SECRET}{SECRET}\n").into_bytes(),
        b"aHVudGVyMi1odW50ZXIy".to_vec(),
    ]
}

fn redacted(case: &[u8]) -> u64 {
    let redactor = Arc::new(Redactor::default());
    redactor.remember("fdb", &Secret::new(SECRET.to_owned()));
    let mut stream = Stream::new(redactor.clone());
    let mut written = Vec::new();
    for part in case.chunks(1 + case.len() % 13) {
        written.extend(stream.push(part));
    }
    written.extend(stream.finish());
    let leaks = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!leaks(&written), "the secret stands in what is written");
    let text = redactor.redact(&text(case));
    assert!(!leaks(text.as_bytes()), "the secret stands in the text");
    shape(if written.len() == case.len() { "as it was" } else { "shorter or longer" }) ^ u64::from(case.is_empty())
}
