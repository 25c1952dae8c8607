//! systemd, over D-Bus.
//!
//! Apart because it is the only code that speaks D-Bus. A start or stop is a job: it has ended when systemd says so, with
//! a result that is no guess.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::outcome::Fault;
use futures::{FutureExt, StreamExt};
use zbus::OwnedObjectPath;
use zbus::fdo::{PropertiesChangedStream, PropertiesProxy};
use zbus::proxy::CacheProperties;

use super::{ServiceManager, State};
use crate::action::{Context, Failure};

/// How long the bus may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_unit_processes(&self, name: &str) -> zbus::Result<Vec<(String, u32, String)>>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn sub_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
}

/// A connection to the systemd of this host.
pub struct Systemd {
    connection: zbus::Connection,
    manager: ManagerProxy<'static>,
}

fn broken(what: &str, error: &str) -> Fault {
    Fault::new(
        "BTN-0501",
        format!("systemd cannot be asked to {what}: {error}."),
        "See that the system bus (dbus) runs and that the agent's user may manage services, or name another manager.",
    )
}

async fn answer<T>(what: &str, call: impl Future<Output = zbus::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(broken(what, &error.to_string())),
        Err(_) => Err(broken(what, "no answer within 10s")),
    }
}

/// `postgresql` means `postgresql.service`.
fn unit_name(name: &str) -> String {
    const KINDS: [&str; 7] = [".service", ".target", ".socket", ".timer", ".mount", ".path", ".scope"];
    if KINDS.iter().any(|kind| name.ends_with(kind)) { name.to_owned() } else { format!("{name}.service") }
}

impl Systemd {
    /// `bus`: an address as D-Bus writes them; without it the system bus.
    pub async fn connect(bus: Option<&str>) -> Result<Self, Fault> {
        let builder = match bus {
            Some(address) => zbus::connection::Builder::address(address),
            None => zbus::connection::Builder::system(),
        };
        let connection = answer("connect", builder.build()).await?;
        let proxy = ManagerProxy::builder(&connection).cache_properties(CacheProperties::No).build();
        let manager = answer("connect", proxy).await?;
        answer("say its version", manager.version()).await?;
        Ok(Self { connection, manager })
    }

    async fn unit(&self, name: &str) -> Result<UnitProxy<'static>, Fault> {
        let path = answer(&format!("load {name}"), self.manager.load_unit(&unit_name(name))).await?;
        let unit = UnitProxy::builder(&self.connection).path(path).cache_properties(CacheProperties::No).build();
        answer(&format!("load {name}"), unit).await
    }

    /// Waits for the job's end: by the signal, and by looking now and then, in case the signal went past.
    async fn job(&self, name: &str, start: bool, context: &Context) -> Result<(), Failure> {
        let verb = if start { "start" } else { "stop" };
        let what = format!("{verb} {name}");
        answer("subscribe", self.manager.subscribe()).await?;
        let mut removed = answer("subscribe", self.manager.receive_job_removed()).await?;
        let unit = self.unit(name).await?;
        let full = unit_name(name);
        let job = match start {
            true => answer(&what, self.manager.start_unit(&full, "replace")).await?,
            false => answer(&what, self.manager.stop_unit(&full, "replace")).await?,
        };
        let mut look = tokio::time::interval(Duration::from_secs(1));
        look.tick().await;
        let result = loop {
            tokio::select! {
                signal = removed.next() => match signal {
                    Some(signal) => {
                        let ended = signal.args().map_err(|error| broken(&what, &error.to_string()))?;
                        if ended.job == job {
                            break ended.result.clone();
                        }
                    }
                    None => return Err(Failure::Unclear(broken(&what, "the bus closed the connection"))),
                },
                _ = look.tick() => {
                    let (id, current) = answer(&what, unit.job()).await.map_err(Failure::Unclear)?;
                    if id == 0 || current != job {
                        // What it came to is told by the state.
                        break "done".to_owned();
                    }
                }
                () = context.cancelled() => {
                    return Err(Failure::Unclear(Fault::new(
                        if start { "BTN-0503" } else { "BTN-0504" },
                        format!("systemd was still at work to {what} when the task's time was over."),
                        "Give the step more time, or look with systemctl status on the host.",
                    )));
                }
            }
        };
        if result == "done" || result == "skipped" {
            return Ok(());
        }
        let state = self.state(name, context).await?;
        Err(Failure::Failed(Fault::new(
            if start { "BTN-0503" } else { "BTN-0504" },
            format!("systemd could not {what}: {result}; the unit is {}.", state.text()),
            format!("Run \"systemctl status {full}\" on the host, put it right, then retry the step."),
        )))
    }
}

#[async_trait]
impl ServiceManager for Systemd {
    async fn state(&self, name: &str, _: &Context) -> Result<State, Fault> {
        let unit = self.unit(name).await?;
        let what = format!("say the state of {name}");
        let load = answer(&what, unit.load_state()).await?;
        let active = answer(&what, unit.active_state()).await?;
        let sub = answer(&what, unit.sub_state()).await?;
        let text = stated(&active, &sub);
        Ok(match (load.as_str(), active.as_str()) {
            // A unit whose file is gone may still run.
            ("not-found", "inactive" | "failed") => State::Missing(format!("there is no unit {}", unit_name(name))),
            (_, "active" | "reloading" | "refreshing") => State::Running(text),
            (_, "inactive" | "failed") => State::Stopped(text),
            (_, "activating" | "deactivating" | "maintenance") => State::Changing(text),
            _ => State::Unknown(text),
        })
    }

    async fn start(&self, name: &str, context: &Context) -> Result<(), Failure> {
        self.job(name, true, context).await
    }

    async fn stop(&self, name: &str, context: &Context) -> Result<(), Failure> {
        self.job(name, false, context).await
    }

    /// With `KillMode=process` or `none` a stopped unit may have left processes behind.
    async fn remains(&self, name: &str) -> Vec<String> {
        let listed = answer("list processes", self.manager.get_unit_processes(&unit_name(name))).await;
        listed.unwrap_or_default().into_iter().map(|(_, pid, command)| format!("{command}[{pid}]")).collect()
    }

    /// Once for each connection: systemd refuses a second subscription.
    async fn changes(&self, name: &str) -> Result<Option<Changes>, Fault> {
        let what = format!("tell of changes of {name}");
        answer(&what, self.manager.subscribe()).await?;
        let path = answer(&what, self.manager.load_unit(&unit_name(name))).await?;
        let builder = PropertiesProxy::builder(&self.connection).destination("org.freedesktop.systemd1").path(path);
        let properties = answer(&what, builder.cache_properties(CacheProperties::No).build()).await?;
        let unit = [(0, "org.freedesktop.systemd1.Unit")];
        Ok(Some(Changes { signals: answer(&what, properties.receive_properties_changed_with_args(&unit)).await? }))
    }
}

/// What systemd says of a unit without being asked. Whoever holds it must look at it often: the bus waits for a slow listener.
pub struct Changes {
    signals: PropertiesChangedStream,
}

impl Changes {
    /// The state that the next signal tells of, as [`State::text`] has it, or an empty one; `None` when the bus has gone away.
    /// Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<String> {
        let signal = self.signals.next().await?;
        let told = |name: &str| -> Option<String> {
            let properties = signal.args().ok()?.changed_properties;
            properties.get(name)?.downcast_ref::<&str>().ok().map(str::to_owned)
        };
        Some(match (told("ActiveState"), told("SubState")) {
            (Some(active), Some(sub)) => stated(&active, &sub),
            _ => String::new(),
        })
    }

    /// Takes what was told up to now; false when the bus has gone away.
    pub fn forget(&mut self) -> bool {
        loop {
            match self.signals.next().now_or_never() {
                None => return true,
                Some(None) => return false,
                Some(Some(_)) => {}
            }
        }
    }
}

fn stated(active: &str, sub: &str) -> String {
    format!("{active} ({sub})")
}
