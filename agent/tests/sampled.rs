//! A real `baton-agent` process that is asked for samples: it answers what an action finds that changes nothing, and does
//! nothing else.

#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/coordinator.rs"]
mod support;

use std::time::{Duration, Instant};

use baton_model::outcome::Fault;
use baton_proto::v1::{self as pb, from_agent::Message as Up, to_agent::Message as Down};
use baton_wire::agent as wire;
use serde_json::{Value, json};
use support::{
    Peer,
    world::{World, ready},
};

async fn sample(peer: &mut Peer, action: &str, params: Value, timeout_ms: u64) -> Result<Value, Fault> {
    let params = params.to_string().into_bytes().into();
    peer.send(Down::Sample(pb::Sample { request: 9, action: action.into(), params, timeout_ms })).await;
    let (request, answer) = peer
        .wait("Sampled", |message| match message {
            Up::Sampled(sampled) => Some(wire::parse_sampled(sampled.clone()).expect("well formed")),
            _ => None,
        })
        .await;
    assert_eq!(request, 9);
    answer
}

#[tokio::test]
async fn a_sample_is_an_answer_and_never_a_deed() {
    let mut world = World::new();
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let until = |script: &str| json!({ "argv": ["/bin/sh", "-c", script] });
    assert_eq!(sample(&mut peer, "wait.until", until("exit 0"), 5000).await, Ok(Value::Null));

    let (effects, marker) = (world.shown("effects"), world.shown("marker"));
    std::fs::write(&effects, "").expect("written");
    let deeds = [
        ("exec.run", until(&format!("echo done >> {effects}"))),
        ("file.line", json!({ "path": effects, "line": "done" })),
    ];
    for (action, params) in deeds {
        assert_eq!(sample(&mut peer, action, params, 5000).await.expect_err("refused").code, "BTN-0439", "{action}");
    }
    assert_eq!(world.lines("effects"), 0, "nothing was done");
    let codes = [
        ("wait.until", json!({ "argv": ["/bin/rm", "-f", marker] }), "BTN-0403"),
        ("wait.until", json!({ "argw": [] }), "BTN-0497"),
        ("no.such", json!({}), "BTN-0497"),
    ];
    for (action, params, code) in codes {
        assert_eq!(sample(&mut peer, action, params, 5000).await.expect_err("refused").code, code, "{action}");
    }

    // What does not come true is no answer, after the time that the coordinator gave.
    let begun = Instant::now();
    let fault = sample(&mut peer, "wait.until", until("exit 1"), 300).await.expect_err("in vain");
    assert!(["BTN-0440", "BTN-0541"].contains(&fault.code.as_str()), "{fault}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // And the agent goes on.
    assert_eq!(sample(&mut peer, "wait.until", until("exit 0"), 5000).await, Ok(Value::Null));
}
