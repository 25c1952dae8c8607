//! The agent's messages: proto ↔ model, strictly.
//!
//! Parsing here is the only way in, so that behind it nothing is left to check. A message with a field missing is refused,
//! never filled in: a fence of zeros would be a guess.

use baton_model::{
    fence::{Fence, Reign},
    ids::{GroupName, HostName, RunId, StepId, TaskId},
    order::Order,
    outcome::{Fault, Observation, Report},
    time::Span,
};
use baton_proto::v1 as pb;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("BTN-0311 the message {message} is not understood: {field}: {reason}")]
pub struct Malformed {
    /// `Execute`
    pub message: &'static str,
    /// `task.run`
    pub field: &'static str,
    pub reason: String,
}

pub(crate) fn malformed(message: &'static str, field: &'static str, reason: impl ToString) -> Malformed {
    Malformed { message, field, reason: reason.to_string() }
}

fn present<T>(message: &'static str, field: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| malformed(message, field, "it is missing"))
}

pub(crate) fn json<T: DeserializeOwned>(
    message: &'static str,
    field: &'static str,
    bytes: &[u8],
) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|error| malformed(message, field, error))
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the model's types have string keys and no failing serializer")
}

pub fn task_id(id: &TaskId) -> pb::TaskId {
    pb::TaskId { run: id.run.to_string(), step: id.step.0.clone(), host: id.host.to_string(), attempt: id.attempt }
}

pub fn parse_task_id(message: &'static str, id: Option<pb::TaskId>) -> Result<TaskId, Malformed> {
    let id = present(message, "task", id)?;
    if id.step.is_empty() || id.step.len() > 256 {
        return Err(malformed(message, "task.step", "it must have 1 to 256 bytes"));
    }
    if id.attempt == 0 {
        return Err(malformed(message, "task.attempt", "attempts count from 1"));
    }
    Ok(TaskId {
        run: id.run.parse::<RunId>().map_err(|error| malformed(message, "task.run", error))?,
        step: StepId(id.step),
        host: HostName::new(id.host).map_err(|error| malformed(message, "task.host", error))?,
        attempt: id.attempt,
    })
}

pub fn fence(fence: Fence) -> pb::Fence {
    pb::Fence { generation: fence.generation, term: fence.term, index: fence.index }
}

pub fn parse_fence(message: &'static str, fence: Option<pb::Fence>) -> Result<Fence, Malformed> {
    let fence = present(message, "fence", fence)?;
    Ok(Fence { generation: fence.generation, term: fence.term, index: fence.index })
}

pub fn execute(order: &Order) -> pb::Execute {
    pb::Execute {
        task: Some(task_id(&order.task)),
        fence: Some(fence(order.fence)),
        action: order.action.clone(),
        params: to_json(&order.params).into(),
        timeout_ms: order.timeout.as_millis(),
    }
}

pub fn parse_execute(message: pb::Execute) -> Result<Order, Malformed> {
    const NAME: &str = "Execute";
    if message.timeout_ms == 0 {
        return Err(malformed(NAME, "timeout_ms", "a task without time cannot be done"));
    }
    Ok(Order {
        task: parse_task_id(NAME, message.task)?,
        fence: parse_fence(NAME, message.fence)?,
        action: message.action,
        params: json(NAME, "params", &message.params)?,
        timeout: Span(message.timeout_ms),
    })
}

/// What a leader announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accession {
    pub request: u64,
    pub reign: Reign,
    pub marks: Vec<(RunId, u64)>,
    pub floors: Vec<(GroupName, u64)>,
}

pub fn reign(accession: &Accession) -> pb::Reign {
    pb::Reign {
        request: accession.request,
        generation: accession.reign.generation,
        term: accession.reign.term,
        marks: accession.marks.iter().map(|(run, index)| pb::RunMark { run: run.to_string(), index: *index }).collect(),
        floors: accession
            .floors
            .iter()
            .map(|(group, number)| pb::RunFloor { group: group.to_string(), number: *number })
            .collect(),
    }
}

pub fn parse_reign(message: pb::Reign) -> Result<Accession, Malformed> {
    const NAME: &str = "Reign";
    let mark = |mark: pb::RunMark| Ok((mark.run.parse().map_err(|e| malformed(NAME, "marks.run", e))?, mark.index));
    let floor =
        |floor: pb::RunFloor| Ok((floor.group.parse().map_err(|e| malformed(NAME, "floors.group", e))?, floor.number));
    Ok(Accession {
        request: message.request,
        reign: Reign { generation: message.generation, term: message.term },
        marks: message.marks.into_iter().map(mark).collect::<Result<_, Malformed>>()?,
        floors: message.floors.into_iter().map(floor).collect::<Result<_, Malformed>>()?,
    })
}

/// A raised fence of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    pub request: u64,
    pub run: RunId,
    pub fence: Fence,
}

pub fn raise(raised: &Raised) -> pb::Raise {
    pb::Raise { request: raised.request, fence: Some(fence(raised.fence)), run: raised.run.to_string() }
}

pub fn parse_raise(message: pb::Raise) -> Result<Raised, Malformed> {
    const NAME: &str = "Raise";
    Ok(Raised {
        request: message.request,
        run: message.run.parse().map_err(|error| malformed(NAME, "run", error))?,
        fence: parse_fence(NAME, message.fence)?,
    })
}

/// Answers a reign or a raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub request: u64,
    pub reign: Reign,
    pub index: u64,
    pub open_tasks: Vec<TaskId>,
}

pub fn acknowledged(answer: &Acknowledgement) -> pb::Acknowledged {
    pb::Acknowledged {
        request: answer.request,
        generation: answer.reign.generation,
        term: answer.reign.term,
        index: answer.index,
        open_tasks: answer.open_tasks.iter().map(task_id).collect(),
    }
}

pub fn parse_acknowledged(message: pb::Acknowledged) -> Result<Acknowledgement, Malformed> {
    const NAME: &str = "Acknowledged";
    let open = message.open_tasks.into_iter().map(|task| parse_task_id(NAME, Some(task)));
    Ok(Acknowledgement {
        request: message.request,
        reign: Reign { generation: message.generation, term: message.term },
        index: message.index,
        open_tasks: open.collect::<Result<_, Malformed>>()?,
    })
}

pub fn finished(task: &TaskId, with: Fence, report: &Report) -> pb::Finished {
    pb::Finished { task: Some(task_id(task)), fence: Some(fence(with)), report: to_json(report).into() }
}

pub fn parse_finished(message: pb::Finished) -> Result<(TaskId, Fence, Report), Malformed> {
    const NAME: &str = "Finished";
    let report = json(NAME, "report", &message.report)?;
    Ok((parse_task_id(NAME, message.task)?, parse_fence(NAME, message.fence)?, report))
}

pub fn declined(task: &TaskId, fault: &Fault, seen: Fence) -> pb::Declined {
    pb::Declined {
        task: Some(task_id(task)),
        code: fault.code.clone(),
        // The remedy goes with the message: Declined has no field of its own for it.
        message: if fault.remedy.is_empty() {
            fault.message.clone()
        } else {
            format!("{} {}", fault.message, fault.remedy)
        },
        seen: Some(fence(seen)),
    }
}

pub fn parse_declined(message: pb::Declined) -> Result<(TaskId, Fault, Fence), Malformed> {
    const NAME: &str = "Declined";
    let fault = Fault::new(&message.code, message.message, "");
    let seen = present(NAME, "seen", message.seen)?;
    Ok((parse_task_id(NAME, message.task)?, fault, parse_fence(NAME, Some(seen))?))
}

pub fn observed(request: u64, answer: &Result<Observation, Fault>) -> pb::Observed {
    let (observation, fault) = match answer {
        Ok(observation) => (to_json(observation), Vec::new()),
        Err(fault) => (Vec::new(), to_json(fault)),
    };
    pb::Observed { request, observation: observation.into(), fault: fault.into() }
}

pub fn sampled(request: u64, answer: &Result<Value, Fault>) -> pb::Sampled {
    let (data, fault) = match answer {
        Ok(data) => (to_json(data), Vec::new()),
        Err(fault) => (Vec::new(), to_json(fault)),
    };
    pb::Sampled { request, data: data.into(), fault: fault.into() }
}

pub fn parse_sampled(message: pb::Sampled) -> Result<(u64, Result<Value, Fault>), Malformed> {
    const NAME: &str = "Sampled";
    let answer = match (message.data.is_empty(), message.fault.is_empty()) {
        (false, true) => Ok(json(NAME, "data", &message.data)?),
        (true, false) => Err(json(NAME, "fault", &message.fault)?),
        _ => return Err(malformed(NAME, "data", "either it or fault must be there")),
    };
    Ok((message.request, answer))
}

pub fn parse_observed(message: pb::Observed) -> Result<(u64, Result<Observation, Fault>), Malformed> {
    const NAME: &str = "Observed";
    let answer = match (message.observation.is_empty(), message.fault.is_empty()) {
        (false, true) => Ok(json(NAME, "observation", &message.observation)?),
        (true, false) => Err(json(NAME, "fault", &message.fault)?),
        _ => return Err(malformed(NAME, "observation", "exactly one of observation and fault must be there")),
    };
    Ok((message.request, answer))
}

pub fn file_fault(request: u64, fault: &Fault) -> pb::FilePart {
    pb::FilePart { request, content: Default::default(), last: true, fault: to_json(fault).into() }
}

/// The fault of a file part, where it has one.
pub fn parse_file_fault(message: &pb::FilePart) -> Result<Option<Fault>, Malformed> {
    if message.fault.is_empty() { Ok(None) } else { json("FilePart", "fault", &message.fault).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_model::{outcome::Outcome, time::Moment};

    fn order() -> Order {
        Order {
            task: TaskId {
                run: "pom-db-17".parse().expect("a run"),
                step: StepId("4.2".into()),
                host: HostName::new("db1").expect("a host"),
                attempt: 2,
            },
            fence: Fence { generation: 1, term: 2, index: 3 },
            action: "exec.run".into(),
            params: serde_json::json!({ "argv": ["/bin/true"] }),
            timeout: Span::from_secs(5),
        }
    }

    #[test]
    fn messages_read_back_as_they_were_written() {
        assert_eq!(parse_execute(execute(&order())), Ok(order()));
        let report = Report {
            outcome: Outcome::Changed,
            summary: "did it".into(),
            fault: None,
            output: Default::default(),
            data: serde_json::json!({ "a": 1 }),
            attachments: Vec::new(),
            started: Moment(1),
            ended: Moment(2),
        };
        let (task, fence) = (order().task, order().fence);
        assert_eq!(parse_finished(finished(&task, fence, &report)), Ok((task.clone(), fence, report)));
        let accession = Accession {
            request: 7,
            reign: Reign { generation: 1, term: 2 },
            marks: vec![(task.run.clone(), 9)],
            floors: vec![(task.run.group.clone(), 4)],
        };
        assert_eq!(parse_reign(reign(&accession)), Ok(accession));
        let raised = Raised { request: 8, run: task.run.clone(), fence };
        assert_eq!(parse_raise(raise(&raised)), Ok(raised));
        let answer = Acknowledgement { request: 8, reign: fence.reign(), index: 3, open_tasks: vec![task.clone()] };
        assert_eq!(parse_acknowledged(acknowledged(&answer)), Ok(answer));
        for answer in [Ok(Observation::Differs { change: "x".into() }), Err(Fault::new("BTN-0401", "no", "add it"))] {
            assert_eq!(parse_observed(observed(3, &answer)), Ok((3, answer)));
        }
        for answer in [Ok(serde_json::json!({ "role": "PRIMARY" })), Err(Fault::new("BTN-0401", "no", "add it"))] {
            assert_eq!(parse_sampled(sampled(3, &answer)), Ok((3, answer)));
        }
        assert!(parse_sampled(pb::Sampled { request: 3, ..Default::default() }).is_err(), "nothing is no answer");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        type Spoil = fn(&mut pb::Execute);
        let cases: [(&str, Spoil); 7] = [
            ("task", |m| m.task = None),
            ("fence", |m| m.fence = None),
            ("task.run", |m| m.task.as_mut().expect("there").run = "pom".into()),
            ("task.host", |m| m.task.as_mut().expect("there").host = "../x".into()),
            ("task.attempt", |m| m.task.as_mut().expect("there").attempt = 0),
            ("params", |m| m.params = Default::default()),
            ("timeout_ms", |m| m.timeout_ms = 0),
        ];
        for (field, spoil) in cases {
            let mut message = execute(&order());
            spoil(&mut message);
            assert_eq!(parse_execute(message).expect_err(field).field, field);
        }
    }
}
