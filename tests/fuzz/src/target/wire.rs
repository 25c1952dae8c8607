//! What comes over the wire and from the disk: messages of agents and operators, what the log holds, faults in headers.

use baton_engine::codec;
use baton_model::{
    fence::{Fence, Reign},
    order::Order,
    outcome::{Fault, Observation, Outcome, Output, Report},
    plan::Plan,
    time::{Moment, Span},
};
use baton_proto::v1 as pb;
use baton_wire::{agent, fault};
use prost::Message;
use serde_json::{Value, json};

use super::{Target, all_of, shape, shape_of, text};
use crate::corpus::texts;

pub(super) const ALL: &[Target] = &[
    Target { name: "agent-wire", what: "messages between coordinators and agents", corpus: spoken, feed: agents },
    Target { name: "operator-wire", what: "what operators and coordinators ask", corpus: asked, feed: operators },
    Target { name: "fault", what: "faults and redirects in a call's headers", corpus: headers, feed: faults },
    Target { name: "log", what: "entries, answers and states of the log", corpus: golden, feed: log },
    Target { name: "plan", what: "plans as they were shown", corpus: plans, feed: plan },
];

fn order() -> Order {
    Order {
        task: task(),
        fence: Fence { generation: 1, term: 2, index: 300 },
        action: "service.stop".to_owned(),
        params: json!({ "name": "POM" }),
        timeout: Span(60_000),
    }
}

fn task() -> baton_model::ids::TaskId {
    baton_model::ids::TaskId {
        run: "pom-17".parse().expect("a run"),
        step: baton_model::ids::StepId("3".to_owned()),
        host: "pomdb1".parse().expect("a host"),
        attempt: 2,
    }
}

fn spoken() -> Vec<Vec<u8>> {
    use pb::{from_agent::Message as Up, to_agent::Message as Down};
    let (order, fault) = (order(), Fault::new("BTN-0507", "POM runs.", "Stop it."));
    let report = Report {
        outcome: Outcome::Failed,
        summary: "it runs".to_owned(),
        fault: Some(fault.clone()),
        output: Output::bounded("line\n"),
        data: json!({ "rows": [1, "two", null] }),
        attachments: Vec::new(),
        started: Moment(1),
        ended: Moment(2),
    };
    let accession = agent::Accession {
        request: 1,
        reign: Reign { generation: 1, term: 2 },
        marks: vec![(order.task.run.clone(), 300)],
        floors: vec![(order.task.run.group.clone(), 16)],
    };
    let raised = agent::Raised { request: 2, run: order.task.run.clone(), fence: order.fence };
    let observed = agent::observed(3, &Ok(Observation::Differs { change: "stop POM".to_owned() }));
    let down = [
        Down::Execute(agent::execute(&order)),
        Down::Reign(agent::reign(&accession)),
        Down::Raise(agent::raise(&raised)),
        Down::Observe(pb::Observe {
            request: 4,
            action: order.action.clone(),
            params: b"{}".to_vec().into(),
            timeout_ms: 5,
        }),
    ];
    let up = [
        Up::Finished(agent::finished(&order.task, order.fence, &report)),
        Up::Declined(agent::declined(&order.task, &fault, order.fence)),
        Up::Observed(observed),
        Up::Sampled(agent::sampled(5, &Ok(json!({ "role": "PRIMARY" })))),
        Up::Sampled(agent::sampled(6, &Err(fault.clone()))),
        Up::FilePart(agent::file_fault(7, &fault)),
        Up::Hello(pb::Hello { version: "0.1.0".to_owned(), boot: "b".to_owned(), cluster: "c".to_owned() }),
    ];
    let down = down.into_iter().map(|message| pb::ToAgent { message: Some(message) }.encode_to_vec());
    down.chain(up.into_iter().map(|message| pb::FromAgent { message: Some(message) }.encode_to_vec())).collect()
}

fn agents(case: &[u8]) -> u64 {
    use pb::{from_agent::Message as Up, to_agent::Message as Down};
    let down = match pb::ToAgent::decode(case).map(|read| read.message) {
        Ok(Some(Down::Execute(message))) => {
            let read = agent::parse_execute(message);
            if let Ok(order) = &read {
                let back = agent::parse_execute(agent::execute(order)).expect("an order comes back");
                assert_eq!(&back, order);
            }
            shape_of(read)
        }
        Ok(Some(Down::Reign(message))) => shape_of(agent::parse_reign(message)),
        Ok(Some(Down::Raise(message))) => shape_of(agent::parse_raise(message)),
        Ok(other) => shape(&format!("{other:?}")),
        Err(error) => shape(&error.to_string()),
    };
    let up = match pb::FromAgent::decode(case).map(|read| read.message) {
        Ok(Some(Up::Finished(message))) => {
            let read = agent::parse_finished(message);
            if let Ok((task, fence, report)) = &read {
                let back = agent::parse_finished(agent::finished(task, *fence, report)).expect("a report comes back");
                assert_eq!((&back.0, &back.1, &back.2), (task, fence, report));
            }
            shape_of(read)
        }
        Ok(Some(Up::Declined(message))) => shape_of(agent::parse_declined(message)),
        Ok(Some(Up::Acknowledged(message))) => shape_of(agent::parse_acknowledged(message)),
        Ok(Some(Up::Observed(message))) => shape_of(agent::parse_observed(message)),
        Ok(Some(Up::Sampled(message))) => shape_of(agent::parse_sampled(message)),
        Ok(Some(Up::FilePart(message))) => shape_of(agent::parse_file_fault(&message)),
        Ok(other) => shape(&format!("{other:?}")),
        Err(error) => shape(&error.to_string()),
    };
    all_of([down, up])
}

fn asked() -> Vec<Vec<u8>> {
    let wish = pb::PlanRequest {
        group: "pom".to_owned(),
        runbook: "switchover".to_owned(),
        to: "db2".to_owned(),
        inputs: [("member".to_owned(), "db1".to_owned())].into(),
        reason: "a case".to_owned(),
        overrides: [("window".to_owned(), "night".to_owned())].into(),
        observe: true,
        accept_data_loss: false,
    };
    let shown = plans().into_iter().next().unwrap_or_default();
    let start = pb::StartRequest {
        request_id: "r".to_owned(),
        plan: Some(wish.clone()),
        digest: "d".to_owned(),
        shown: shown.into(),
        accepted_data_loss: "pom".to_owned(),
        shown_bill: b"{}".to_vec().into(),
    };
    let act = pb::ActRequest {
        run: "pom-1".to_owned(),
        verb: "skip".to_owned(),
        step: "3".to_owned(),
        host: "pomdb1".to_owned(),
        ..pb::ActRequest::default()
    };
    vec![wish.encode_to_vec(), start.encode_to_vec(), act.encode_to_vec()]
}

fn operators(case: &[u8]) -> u64 {
    let start = pb::StartRequest::decode(case);
    let shown = start.as_ref().ok().map(|start| {
        all_of([
            shape_of(serde_json::from_slice::<Plan>(&start.shown).map(drop)),
            shape_of(serde_json::from_slice::<baton_model::bill::Bill>(&start.shown_bill).map(drop)),
        ])
    });
    all_of([
        shape_of(start),
        shown.unwrap_or_default(),
        shape_of(pb::PlanRequest::decode(case)),
        shape_of(pb::ActRequest::decode(case)),
        shape_of(pb::ApplyRequest::decode(case)),
        shape_of(pb::RaftRequest::decode(case)),
        shape_of(pb::RaftSnapshotPart::decode(case)),
        shape_of(pb::TryConnectionsRequest::decode(case)),
        shape_of(pb::TryConnectionsReply::decode(case)),
    ])
}

fn headers() -> Vec<Vec<u8>> {
    let status = fault::to_status(&Fault::new("BTN-0102", "the plan is out of date.", "Plan again."));
    let carried = status.metadata().get(fault::FAULT_KEY).map(|value| value.as_bytes().to_vec());
    carried
        .into_iter()
        .chain([b"BTN-0302 this call is for an operator.".to_vec(), b"127.0.0.1:7402".to_vec()])
        .collect()
}

fn faults(case: &[u8]) -> u64 {
    let text = text(case);
    // As a header of somebody else, as a message, and as a fault of ours.
    let mut status = tonic::Status::failed_precondition(text.clone());
    if let Ok(value) = tonic::metadata::MetadataValue::try_from(case) {
        status.metadata_mut().insert(fault::FAULT_KEY, value.clone());
        status.metadata_mut().insert(fault::LEADER_KEY, value);
    }
    let ours = Fault::new("BTN-0102", text.clone(), text.clone());
    let back = fault::from_status(&fault::to_status(&ours)).expect("a fault comes back");
    assert!(text.len() > 4096 || back == ours, "{back:?}");
    let told = fault::not_leader(Some(&text));
    all_of([
        shape(&format!("{:?}", fault::from_status(&status))),
        shape(&format!("{:?}", fault::redirect(&status))),
        shape(&format!("{:?}", fault::redirect(&told).is_some())),
    ])
}

fn golden() -> Vec<Vec<u8>> {
    texts("coordinator/engine/tests/golden", ".json")
}

fn log(case: &[u8]) -> u64 {
    let proposal = codec::decode_proposal(case);
    if let Ok(proposal) = &proposal {
        let written = codec::encode_proposal(proposal);
        let back = codec::decode_proposal(&written).expect("an entry comes back");
        assert_eq!(codec::encode_proposal(&back), written, "an entry is written as it was read");
    }
    let state = codec::decode_state(case);
    if let Ok(state) = &state {
        let written = codec::encode_state(state);
        let back = codec::decode_state(&written).expect("a state comes back");
        assert_eq!(codec::encode_state(&back), written, "a state is written as it was read");
    }
    all_of([shape_of(proposal.map(drop)), shape_of(state.map(drop)), shape_of(codec::decode_answer(case).map(drop))])
}

fn plans() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for text in golden() {
        let read: Value = serde_json::from_slice(&text).unwrap_or_default();
        collect(&read, &mut found);
    }
    found
}

/// Every plan, however deep.
fn collect(value: &Value, found: &mut Vec<Vec<u8>>) {
    if value.get("runbook_digest").is_some() && value.get("stages").is_some() {
        found.push(value.to_string().into_bytes());
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        _ => {}
    }
}

fn plan(case: &[u8]) -> u64 {
    let read = serde_json::from_slice::<Plan>(case);
    if let Ok(plan) = &read {
        let back: Plan =
            serde_json::from_slice(&serde_json::to_vec(plan).expect("written")).expect("a plan comes back");
        assert_eq!(back.digest(), plan.digest(), "a plan that was written and read is the same plan");
        drop((plan.losing_hosts(), plan.transfer_stage()));
    }
    shape_of(read.map(|plan| plan.stages.len()))
}
