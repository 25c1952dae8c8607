//! What operators ask. Reads are linearizable; changes go through the proposer; followers name the leader.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use baton_engine::{
    command::{Answer, AutomaticWord, Command, Source, Target},
    state,
};
use baton_log::Log;
use baton_model::{
    author::Actor,
    bill::{Acceptance, Bill},
    group::{Group, least},
    ids::{GroupName, HostName, MemberName, RunId, RunbookName, StepId},
    outcome::Fault,
    plan::{Plan, Work},
    time::Span,
    view::{AppliedChange, AppliedView, ObservedTask, PlanView, StatusView},
};
use baton_planner::Request as PlanWish;
use baton_platform::identity::{Role, require_operator};
use baton_proto::v1::{
    ActReply, ActRequest, ApplyReply, ApplyRequest, ClusterRequest, Document, FileChunk, GetRequest, ListRequest,
    PlanReply, PlanRequest, ReadTaskFileRequest, StartReply, StartRequest, WatchReply, WatchRequest,
    operator_server::Operator,
};
use baton_wire::fault::to_status;
use futures::Stream;
use serde::Serialize;
use tonic::{Request, Response, Status};

use crate::{
    api::refusal::{status_of, status_of_log},
    definitions,
    leader::{Reachability, Sampler},
    look,
    proposer::{Proposer, request_of},
    replica::Replica,
    sessions::Sessions,
    views,
};

/// Coordinators' clocks are kept within seconds; beyond that an operator must know.
const CLOCKS_APART: Span = Span::from_secs(2);
/// A watcher hears of changes no more often than this.
const WATCH_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct OperatorApi {
    pub log: Log<Replica>,
    pub proposer: Proposer,
    pub sessions: Sessions,
    pub reachability: Reachability,
    pub sampler: Sampler,
    /// Of this cluster's elections: a lease must outlive one.
    pub election_max: Span,
}

type Reply<T> = Result<Response<T>, Status>;

fn json<T: Serialize>(value: &T) -> bytes::Bytes {
    serde_json::to_vec(value).expect("views have string keys and no failing serializers").into()
}

fn bad(code: &str, message: impl Into<String>, remedy: &str) -> Status {
    to_status(&Fault::new(code, message, remedy))
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: T::Err| bad("BTN-0145", format!("{error}."), "Check the spelling."))
}

impl OperatorApi {
    /// Who calls, if their role is enough for it.
    fn caller<T>(&self, request: &Request<T>, least: Role) -> Result<Actor, Status> {
        let (who, role) = require_operator(request)?;
        if role < least {
            return Err(bad(
                "BTN-0305",
                format!("{who} is {}, and this takes {}.", role.as_str(), least.as_str()),
                "Use a certificate with that role (\"baton ca operator --role\").",
            ));
        }
        Ok(Actor::Operator(who.as_str().to_owned()))
    }

    /// After it, this node's state shows all that was committed before the call.
    async fn fresh(&self) -> Result<(), Status> {
        self.log.read_index().await.map_err(status_of_log)
    }

    fn with_group<T>(
        &self,
        name: &GroupName,
        read: impl FnOnce(&state::Group) -> Result<T, Fault>,
    ) -> Result<T, Status> {
        self.log.with(|replica| {
            let group = replica.state.groups.get(name).ok_or_else(|| {
                let known: Vec<&str> = replica.state.groups.keys().map(GroupName::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                bad(
                    "BTN-0110",
                    format!("there is no group {name} (there is: {known})."),
                    "Apply its file with \"baton apply\".",
                )
            })?;
            read(group).map_err(|fault| to_status(&fault))
        })
    }

    fn make_plan(&self, wish: &PlanRequest) -> Result<Plan, Status> {
        let group_name: GroupName = name(&wish.group)?;
        let runbook_name: RunbookName = name(&wish.runbook)?;
        let to: Option<MemberName> = if wish.to.is_empty() { None } else { Some(name(&wish.to)?) };
        let request = PlanWish {
            runbook: runbook_name.clone(),
            to,
            inputs: wish.inputs.clone().into_iter().collect(),
            reason: wish.reason.clone(),
            overrides: wish.overrides.clone().into_iter().collect::<BTreeMap<_, _>>(),
            accepted_data_loss: wish.accept_data_loss,
            now: self.proposer.now(),
        };
        self.with_group(&group_name, |group| {
            let definition = definitions::group_of(group)?;
            let runbook = definitions::runbook_of(group, group_name.as_str(), &runbook_name)?;
            baton_planner::plan(&definition, &runbook, &definitions::situation_of(group), &request)
        })
    }

    /// What a plan would lose, asked now of every host that can be asked; none where it can lose nothing.
    async fn bill(&self, plan: &Plan) -> Result<Option<Bill>, Status> {
        if !plan.loses_data {
            return Ok(None);
        }
        let parties = self.with_group(&plan.group, |group| {
            let definition = definitions::group_of(group)?;
            Ok(baton_planner::sample::parties(&definition, plan))
        })?;
        self.sampler.refresh(&plan.group).await;
        let mut bill = Bill::of(&self.sampler.samples(&plan.group), &parties, self.proposer.now());
        let behind = self.proposer.behind();
        if behind > CLOCKS_APART {
            let by = baton_model::bill::length(behind);
            bill.cautions
                .push(format!("this coordinator's clock is {by} behind its log: ages may be too small by as much"));
        }
        Ok(Some(bill))
    }

    fn waits_for_approval(&self, run: &str, step: &str) -> bool {
        let Ok(run) = run.parse::<RunId>() else { return false };
        self.log.with(|replica| {
            let planned = replica.state.runs.get(&run).and_then(|run| run.planned_step(&StepId(step.to_owned())));
            planned.is_some_and(|step| matches!(step.work, Work::Approval { .. }))
        })
    }

    fn run_view(&self, id: &RunId) -> Result<baton_model::view::RunView, Status> {
        let now = self.proposer.now();
        self.log
            .with(|replica| replica.state.runs.get(id).map(|run| views::run::view(run, &self.sessions, now)))
            .ok_or_else(|| no_run(id))
    }
}

fn no_run(id: &RunId) -> Status {
    bad("BTN-0111", format!("there is no run {id}."), "List the runs with \"baton runs\".")
}

#[tonic::async_trait]
impl Operator for OperatorApi {
    async fn apply(&self, request: Request<ApplyRequest>) -> Reply<ApplyReply> {
        let who = self.caller(&request, Role::Admin)?;
        let request = request.into_inner();
        self.fresh().await?;
        let files: Vec<Source> =
            request.files.into_iter().map(|file| Source { path: file.path, text: file.text }).collect();
        let groups = definitions::read(&files).map_err(|diagnostics| {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            bad("BTN-0099", lines.join("\n"), "Mend the files; \"baton check\" finds the same without a cluster.")
        })?;
        if groups.is_empty() {
            return Err(bad(
                "BTN-0147",
                "none of the files defines a group.",
                "Apply a group file; it brings its runbooks along.",
            ));
        }
        for (group, _) in &groups {
            outlives_a_leader(group, self.election_max)?;
        }
        let mut changes = Vec::new();
        for (number, (group, definition)) in groups.into_iter().enumerate() {
            let runbooks = definition.runbooks.keys().cloned().collect();
            let before = self.log.with(|replica| {
                replica.state.groups.get(&group.name).map(|group| (group.revision, group.definition == definition))
            });
            let (mut change, mut revision) = match before {
                None => ("created", 1),
                Some((revision, true)) => ("unchanged", revision),
                Some((revision, false)) => ("changed", revision + 1),
            };
            if !request.dry_run {
                let command = Command::DefineGroup { group: group.name.clone(), definition };
                let id = (!request.request_id.is_empty()).then(|| format!("{}/{number}", request.request_id));
                match self.proposer.propose(who.clone(), &request.reason, id, command).await.map_err(status_of)? {
                    Answer::Defined { revision: now } => revision = now,
                    _ => change = "unchanged",
                }
            }
            changes.push(AppliedChange { group: group.name, change: change.to_owned(), revision, runbooks });
        }
        Ok(Response::new(ApplyReply { document: json(&AppliedView { changes }) }))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Reply<PlanReply> {
        self.caller(&request, Role::Viewer)?;
        let wish = request.into_inner();
        self.fresh().await?;
        let plan = self.make_plan(&wish)?;
        let bill = self.bill(&plan).await?;
        let observations = if wish.observe { look::at_all(&self.sessions, &plan).await } else { Vec::new() };
        let mut warnings = warnings(&plan, &observations);
        warnings.extend(views::plan::ahead(&plan, self.proposer.now(), self.reachability.voters()));
        let view = PlanView {
            digest: plan.digest(),
            consequence: baton_planner::consequence::sentence(&plan),
            plan,
            bill,
            observations,
            warnings,
        };
        Ok(Response::new(PlanReply { document: json(&view) }))
    }

    async fn start(&self, request: Request<StartRequest>) -> Reply<StartReply> {
        let who = self.caller(&request, Role::Operator)?;
        let request = request.into_inner();
        let wish = request.plan.ok_or_else(|| bad("BTN-0148", "the request to start has no plan.", ""))?;
        self.fresh().await?;
        // The same wish asked again: its answer is in the state, whatever the group looks like by now.
        let id = (!request.request_id.is_empty()).then_some(request.request_id);
        let known = id.as_ref().and_then(|id| {
            let request = request_of(&who, id);
            self.log.with(|replica| replica.state.answer_of(&request).cloned())
        });
        if let Some(Answer::Started { run }) = known {
            return Ok(Response::new(StartReply { run: run.to_string(), ..StartReply::default() }));
        }
        let busy = self.log.with(|replica| {
            GroupName::new(&*wish.group).ok().and_then(|group| replica.state.open_run(&group).map(|run| run.id.clone()))
        });
        if let Some(open) = busy {
            return Err(bad(
                "BTN-0101",
                format!("group {} is busy: run {open} is open.", wish.group),
                &format!("Watch it with \"baton watch {open}\"; if it is halted, resume or abort it."),
            ));
        }
        let plan = self.make_plan(&wish)?;
        let digest = plan.digest();
        if digest.0 != request.digest {
            let difference = serde_json::from_slice::<Plan>(&request.shown)
                .map_or_else(|_| "what was shown is not known".to_owned(), |shown| difference(&shown, &plan));
            return Err(bad(
                "BTN-0102",
                format!("the plan is out of date: {difference}."),
                &format!("Run \"baton plan {} {}\" again and start what it shows.", wish.group, wish.runbook),
            ));
        }
        look::at_start(&self.sessions, &plan).await.map_err(|fault| to_status(&fault))?;
        let bill = self.bill(&plan).await?;
        let acceptance = match &bill {
            None => None,
            Some(bill) => Some(Box::new(accepted(&plan, bill, &request.accepted_data_loss, &request.shown_bill)?)),
        };
        let bill = bill.as_ref().map(json).unwrap_or_default();
        let command = Command::StartRun { plan: Box::new(plan), digest, acceptance, cause: None };
        match self.proposer.propose(who, &wish.reason, id, command).await.map_err(status_of)? {
            Answer::Started { run } => Ok(Response::new(StartReply { run: run.to_string(), bill })),
            other => Err(Status::internal(format!("unexpected answer {other:?}"))),
        }
    }

    async fn act(&self, request: Request<ActRequest>) -> Reply<ActReply> {
        let who = self.caller(&request, Role::Operator)?;
        // What a word takes depends on what it is about: an older state might not know the step.
        self.fresh().await?;
        let least = match request.get_ref().verb.as_str() {
            "approve" => Role::Approver,
            // Leaving an approval out is no smaller thing than giving it.
            "skip" if self.waits_for_approval(&request.get_ref().run, &request.get_ref().step) => Role::Approver,
            "lost" => Role::Admin,
            _ => Role::Operator,
        };
        self.caller(&request, least)?;
        let request = request.into_inner();
        let run = || name::<RunId>(&request.run);
        let target = || -> Result<Target, Status> {
            let host = if request.host.is_empty() { None } else { Some(name::<HostName>(&request.host)?) };
            let step = (!request.step.is_empty()).then(|| StepId(request.step.clone()));
            Ok(Target { step, host })
        };
        let command = match request.verb.as_str() {
            "retry" => Command::RetryTasks { run: run()?, target: target()? },
            "skip" => Command::SkipTasks { run: run()?, target: target()? },
            "resume" => Command::ResumeRun { run: run()? },
            "abort" => Command::AbortRun { run: run()? },
            "override" => Command::OverrideGuard { run: run()?, guard: request.guard.clone() },
            "confirm" | "approve" => self.confirmation(&run()?, &request.step, request.verb == "approve")?,
            "auto" => Command::SetAutomatic { group: name(&request.group)?, word: automatic_word(&request.guard)? },
            "lost" => Command::DeclareLost { group: name(&request.group)?, member: name(&request.member)? },
            other => {
                return Err(bad(
                    "BTN-0149",
                    format!("there is no verb {other:?}."),
                    "Verbs: retry, skip, resume, abort, confirm, approve, override, lost, auto.",
                ));
            }
        };
        let id = (!request.request_id.is_empty()).then_some(request.request_id.clone());
        self.proposer.propose(who, &request.reason, id, command).await.map_err(status_of)?;
        let document = match name::<RunId>(&request.run).and_then(|id| self.run_view(&id)) {
            Ok(view) => json(&view),
            Err(_) => json(&serde_json::json!({ "done": true })),
        };
        Ok(Response::new(ActReply { document }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchReply, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Reply<Self::WatchStream> {
        self.caller(&request, Role::Viewer)?;
        let id: RunId = name(&request.into_inner().run)?;
        self.fresh().await?;
        self.run_view(&id)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let api = self.clone();
        tokio::spawn(async move { api.follow(&id, sender).await });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn get(&self, request: Request<GetRequest>) -> Reply<Document> {
        self.caller(&request, Role::Viewer)?;
        let request = request.into_inner();
        self.fresh().await?;
        let now = self.proposer.now();
        let json = match request.kind.as_str() {
            "run" => json(&self.run_view(&name(&request.name)?)?),
            "group" => {
                let group_name: GroupName = name(&request.name)?;
                // For the message that lists the groups there are.
                self.with_group(&group_name, |_| Ok(()))?;
                let survey = self.reachability.survey().await;
                let view = self.log.with(|replica| {
                    replica.state.groups.get(&group_name).map(|group| {
                        views::group::view(&replica.state, &group_name, group, &survey, &self.sessions, now)
                    })
                });
                match view {
                    Some(Ok(mut view)) => {
                        view.warnings.extend(self.sampler.warnings(&group_name, self.proposer.now()));
                        json(&view)
                    }
                    Some(Err(fault)) => return Err(to_status(&fault)),
                    None => return Err(bad("BTN-0110", format!("there is no group {group_name}."), "")),
                }
            }
            "status" => {
                let survey = self.reachability.survey().await;
                let groups = self.log.with(|replica| {
                    let state = &replica.state;
                    let view = |(name, group)| views::group::view(state, name, group, &survey, &self.sessions, now);
                    state.groups.iter().map(view).collect::<Result<Vec<_>, _>>()
                });
                let mut groups = groups.map_err(|fault| to_status(&fault))?;
                let now = self.proposer.now();
                for group in &mut groups {
                    group.warnings.extend(self.sampler.warnings(&group.name, now));
                }
                json(&StatusView { cluster: views::cluster::view(&self.log), groups })
            }
            other => return Err(bad("BTN-0149", format!("there is no document {other:?}."), "run, group, status")),
        };
        Ok(Response::new(Document { json }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Reply<Document> {
        self.caller(&request, Role::Viewer)?;
        let request = request.into_inner();
        self.fresh().await?;
        let now = self.proposer.now();
        let json = match request.kind.as_str() {
            "runs" => {
                let group: Option<GroupName> =
                    if request.group.is_empty() { None } else { Some(name(&request.group)?) };
                if let Some(group) = &group {
                    self.with_group(group, |_| Ok(()))?;
                }
                let runs: Vec<_> = self.log.with(|replica| {
                    let of_group = |run: &&state::Run| group.as_ref().is_none_or(|group| run.id.group == *group);
                    replica.state.runs.values().filter(of_group).map(|run| views::run::summary(run, now)).collect()
                });
                json(&runs)
            }
            "hosts" => {
                let survey = self.reachability.survey().await;
                json(&self.log.with(|replica| views::group::hosts(&replica.state, &survey, &self.sessions)))
            }
            "members" => json(&views::cluster::view(&self.log)),
            other => return Err(bad("BTN-0149", format!("there is no list {other:?}."), "runs, hosts, members")),
        };
        Ok(Response::new(Document { json }))
    }

    type ReadTaskFileStream = Pin<Box<dyn Stream<Item = Result<FileChunk, Status>> + Send>>;

    async fn read_task_file(&self, request: Request<ReadTaskFileRequest>) -> Reply<Self::ReadTaskFileStream> {
        self.caller(&request, Role::Viewer)?;
        let request = request.into_inner();
        self.fresh().await?;
        let host: HostName = name(&request.host)?;
        let task = baton_proto::v1::TaskId {
            run: request.run,
            step: request.step,
            host: request.host,
            attempt: request.attempt,
        };
        let mut parts = self.sessions.read_file(&host, task, &request.name).map_err(|fault| to_status(&fault))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                let chunk = match parts.recv().await {
                    Some(Ok((content, last))) => {
                        if sender.send(Ok(FileChunk { content })).await.is_err() || last {
                            return;
                        }
                        continue;
                    }
                    Some(Err(fault)) => Err(to_status(&fault)),
                    None => Err(Status::unavailable("the host went off the line in the middle of the file")),
                };
                let _ = sender.send(chunk).await;
                return;
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn cluster(&self, request: Request<ClusterRequest>) -> Reply<Document> {
        self.caller(&request, Role::Admin)?;
        let request = request.into_inner();
        match request.verb.as_str() {
            "transfer" => {
                let members = self.log.status().members;
                let to = match request.to.as_str() {
                    "" => None,
                    wanted => Some(
                        *members.iter().find(|(_, member)| member.node.name == wanted).map(|(id, _)| id).ok_or_else(
                            || {
                                let known: Vec<&str> =
                                    members.values().map(|member| member.node.name.as_str()).collect();
                                bad(
                                    "BTN-0150",
                                    format!("there is no coordinator {wanted} (there is: {}).", known.join(", ")),
                                    "",
                                )
                            },
                        )?,
                    ),
                };
                self.fresh().await?;
                self.log
                    .transfer_leadership(to)
                    .await
                    .map_err(|error| Status::unavailable(format!("leadership was not handed over: {error}")))?;
                Ok(Response::new(Document { json: json(&views::cluster::view(&self.log)) }))
            }
            "status" => Ok(Response::new(Document { json: json(&views::cluster::view(&self.log)) })),
            other => Err(bad("BTN-0149", format!("there is no verb {other:?}."), "transfer, status")),
        }
    }
}

impl OperatorApi {
    /// Sends the run's view now and after each change, until it is over. Ends with the leader's address when this node
    /// no longer leads: what a follower shows is old.
    async fn follow(&self, id: &RunId, sender: tokio::sync::mpsc::Sender<Result<WatchReply, Status>>) {
        let mut applied = self.log.applied();
        let mut changes = self.sessions.changes();
        let mut leadership = self.log.leadership();
        let mut last = bytes::Bytes::new();
        loop {
            applied.mark_unchanged();
            changes.mark_unchanged();
            let leading = leadership.borrow_and_update().clone();
            if !leading.is_self {
                let address = leading.leader.as_ref().map(|node| node.address.as_str());
                let _ = sender.send(Err(baton_wire::fault::not_leader(address))).await;
                return;
            }
            let view = match self.run_view(id) {
                Ok(view) => view,
                Err(status) => {
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            };
            let over = view.summary.over;
            // `now` moves by itself; it is no reason to send.
            let document = json(&baton_model::view::RunView { now: Default::default(), ..view.clone() });
            if document != last {
                last = document;
                if sender.send(Ok(WatchReply { document: json(&view) })).await.is_err() {
                    return;
                }
            }
            if over {
                return;
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                changed = changes.changed() => if changed.is_err() { return },
                changed = leadership.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
            // Bounds how often a busy run is drawn, not when: whatever changed meanwhile is in the next view.
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// The step that waits for a word, where the operator did not name one.
    fn confirmation(&self, run: &RunId, step: &str, approve: bool) -> Result<Command, Status> {
        let view = self.run_view(run)?;
        let waiting: Vec<&StepId> = view
            .steps
            .iter()
            .filter(|step| step.state == baton_model::view::StepWord::Waiting)
            .map(|step| &step.id)
            .collect();
        let step = match (step, waiting.as_slice()) {
            ("", [only]) => (*only).clone(),
            ("", several) => {
                let names: Vec<&str> = several.iter().map(|step| step.0.as_str()).collect();
                return Err(bad(
                    "BTN-0116",
                    format!("{run} waits for a word on {} steps: {}.", several.len(), names.join(", ")),
                    "Name one step.",
                ));
            }
            (named, _) => StepId(named.to_owned()),
        };
        let is_approval = self.log.with(|replica| {
            replica
                .state
                .runs
                .get(run)
                .and_then(|run| run.planned_step(&step))
                .map(|step| matches!(step.work, Work::Approval { .. }))
        });
        match is_approval {
            Some(true) if !approve => Err(bad(
                "BTN-0151",
                format!("step {step} of {run} wants an approval."),
                "Use \"baton approve\", as a second person.",
            )),
            _ => Ok(Command::ConfirmStep { run: run.clone(), step }),
        }
    }
}

/// A lease that ends with each leader would stop the service for nothing.
fn outlives_a_leader(group: &Group, election_max: Span) -> Result<(), Status> {
    let Some(lease) = group.lease else { return Ok(()) };
    let (least, why) = least(election_max);
    if lease.lasts >= least {
        return Ok(());
    }
    let message = format!("group {}: a lease of {} is too short for this cluster: {why}.", group.name, lease.lasts);
    Err(bad("BTN-0187", message, &format!("Write {least} or more, or make the coordinators' election_max_ms smaller.")))
}

/// What `baton auto` says.
fn automatic_word(word: &str) -> Result<AutomaticWord, Status> {
    let words = [AutomaticWord::Pause, AutomaticWord::Resume, AutomaticWord::Rearm];
    let known = words.into_iter().find(|known| known.as_str() == word);
    known.ok_or_else(|| bad("BTN-0149", format!("there is no word {word:?}."), "Words: pause, resume, rearm."))
}

/// An operator's word that this run may lose what the bill says. What was shown is what is accepted: a worse bill is refused.
fn accepted(plan: &Plan, bill: &Bill, typed: &str, shown: &[u8]) -> Result<Acceptance, Status> {
    let Plan { group, runbook, .. } = plan;
    let again = format!("Read the bill (\"baton plan {group} {runbook}\"), and give --accept-data-loss={group}.");
    if typed.is_empty() {
        let verdict = bill.verdict();
        let message = format!("runbook {runbook} of {group} can lose data, and nobody has accepted that: {verdict}.");
        return Err(bad("BTN-0170", message, &again));
    }
    if typed != group.as_str() {
        let message = format!("the loss of data is not accepted: {typed:?} was typed, not {:?}.", group.as_str());
        return Err(bad("BTN-0171", message, &again));
    }
    let worse = match serde_json::from_slice::<Bill>(shown) {
        Ok(shown) => bill.worse_than(&shown),
        Err(_) => vec!["which bill was shown is not known".to_owned()],
    };
    if !worse.is_empty() {
        let message =
            format!("the data-loss bill got worse since it was shown: {}. Now {}.", worse.join("; "), bill.verdict());
        return Err(bad("BTN-0172", message, "Read the new bill and decide again."));
    }
    Ok(Acceptance { typed: typed.to_owned(), bill: bill.clone() })
}

fn warnings(plan: &Plan, observations: &[ObservedTask]) -> Vec<String> {
    let refused = look::refusal(plan, observations).filter(|_| !observations.is_empty());
    let mut warnings: Vec<String> =
        refused.into_iter().map(|fault| format!("now it would be refused: {fault}")).collect();
    for observed in observations {
        let Some(fault) = observed.fault.as_ref().filter(|fault| fault.code != "BTN-0146") else { continue };
        let step = plan.steps().find(|step| step.id == observed.step);
        let name = step.map_or("", |step| step.name.as_str());
        let what = match step.map(|step| step.unreachable) {
            Some(baton_model::plan::Unreachable::Skip) if fault.code == "BTN-0140" => "would be skipped",
            _ => "would not succeed now",
        };
        // The fault itself stands with its step; here its code is enough to find it.
        warnings.push(format!("step {} \"{name}\" {what} on {} ({})", observed.step, observed.host, fault.code));
    }
    warnings
}

/// What differs between the plan that was shown and the one of now, in the words of an operator.
fn difference(shown: &Plan, now: &Plan) -> String {
    let mut parts = Vec::new();
    if shown.epoch != now.epoch || shown.old != now.old {
        parts.push(format!(
            "made when {} was primary in epoch {}, now {} is, in epoch {}",
            shown.old, shown.epoch, now.old, now.epoch
        ));
    }
    if shown.group_revision != now.group_revision {
        parts.push(format!(
            "made at revision {} of group {}, now {}",
            shown.group_revision, now.group, now.group_revision
        ));
    }
    if shown.runbook_digest != now.runbook_digest {
        parts.push(format!(
            "made from runbook {} with digest {}, now {}",
            now.runbook,
            shown.runbook_digest.short(),
            now.runbook_digest.short()
        ));
    }
    if shown.new != now.new {
        let word = |member: &Option<MemberName>| member.as_ref().map_or("none".to_owned(), ToString::to_string);
        parts.push(format!("the target was {}, now {}", word(&shown.new), word(&now.new)));
    }
    if shown.inputs != now.inputs {
        parts.push("the inputs differ".to_owned());
    }
    if shown.stages != now.stages {
        let changed: Vec<&str> = now
            .steps()
            .filter(|step| shown.steps().find(|other| other.id == step.id) != Some(step))
            .map(|step| step.id.0.as_str())
            .take(5)
            .collect();
        parts.push(format!("steps differ: {}", changed.join(", ")));
    }
    if parts.is_empty() { "its digest differs".to_owned() } else { parts.join("; ") }
}
