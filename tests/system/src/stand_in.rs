//! A host whose agent is played by the test: over the real wire, with the host's own certificate, it answers samples with
//! what it is told to say, and performs every order by writing it down.
//!
//! For stories in which a whole database server must have exactly these figures, and die with them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use baton_model::{
    order::Order,
    outcome::{Observation, Outcome, Report},
    time::Moment,
};
use baton_proto::v1::{
    self as pb, agent_sessions_client::AgentSessionsClient, from_agent::Message as Up, to_agent::Message as Down,
};
use baton_wire::agent as wire;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::Channel;

use crate::{World, calls::channel};

/// See the module. Dropped, it is dead: its sessions end at once.
pub struct StandIn {
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct State {
    says: Mutex<Value>,
    asked: AtomicUsize,
    orders: Mutex<BTreeMap<String, Order>>,
}

impl StandIn {
    /// In the place of the host's agent, which is ended.
    pub fn start(world: &mut World, host: &str, says: Value) -> Self {
        world.cluster.kill_agent(host);
        let identity: PathBuf = world.cluster.agent_identity(host);
        let state = Arc::new(State { says: Mutex::new(says), ..State::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        for number in 0..world.cluster.coordinators() {
            let state = state.clone();
            // Made inside the runtime whose connections it has.
            let channel = runtime.block_on(async { channel(&world.cluster, number, &identity) });
            runtime.spawn(async move {
                loop {
                    session(channel.clone(), &state).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        Self { state, _runtime: runtime }
    }

    /// What it says from now on.
    pub fn says(&self, data: Value) {
        *self.state.says.lock().expect("whole") = data;
    }

    /// How often it was asked for a sample.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// Everything that it was ordered to do, by task.
    pub fn orders(&self) -> BTreeMap<String, Order> {
        self.state.orders.lock().expect("whole").clone()
    }
}

async fn session(channel: Channel, state: &State) {
    let (up, messages) = mpsc::channel(64);
    let send = async |message| {
        let _ = up.send(pb::FromAgent { message: Some(message) }).await;
    };
    send(Up::Hello(pb::Hello { version: "0".into(), boot: "1".into(), cluster: String::new() })).await;
    let Ok(down) = AgentSessionsClient::new(channel).session(ReceiverStream::new(messages)).await else { return };
    let mut down = down.into_inner();
    while let Some(Ok(pb::ToAgent { message: Some(message) })) = down.next().await {
        match message {
            Down::Reign(reign) => {
                let pb::Reign { request, generation, term, .. } = reign;
                let answer = pb::Acknowledged { request, generation, term, ..pb::Acknowledged::default() };
                send(Up::Acknowledged(answer)).await;
            }
            Down::Raise(raise) => {
                let fence = raise.fence.expect("a raise has a fence");
                let (generation, term, index) = (fence.generation, fence.term, fence.index);
                let answer = pb::Acknowledged { request: raise.request, generation, term, index, open_tasks: vec![] };
                send(Up::Acknowledged(answer)).await;
            }
            Down::Sample(sample) => {
                state.asked.fetch_add(1, Ordering::Relaxed);
                let says = state.says.lock().expect("whole").clone();
                send(Up::Sampled(wire::sampled(sample.request, &Ok(says)))).await;
            }
            Down::Observe(observe) => {
                let answer = Ok(Observation::Differs { change: format!("{} would be done", observe.action) });
                send(Up::Observed(wire::observed(observe.request, &answer))).await;
            }
            Down::Execute(execute) => {
                let order = wire::parse_execute(execute).expect("well formed");
                state.orders.lock().expect("whole").insert(order.task.to_string(), order.clone());
                let report = Report {
                    outcome: Outcome::Changed,
                    summary: "done".to_owned(),
                    fault: None,
                    output: Default::default(),
                    data: Value::Null,
                    attachments: Vec::new(),
                    started: Moment(1),
                    ended: Moment(2),
                };
                send(Up::Finished(wire::finished(&order.task, order.fence, &report))).await;
            }
            Down::Welcome(_)
            | Down::HeartbeatReply(_)
            | Down::Forget(_)
            | Down::ReadFile(_)
            | Down::Assign(_)
            | Down::DeedsKept(_) => {}
        }
    }
}
