//! The network: byte pipes between processes, with delays, cuts in either direction, resets and machines that are gone.
//!
//! Bytes of one connection keep their order, as TCP's do; nothing is kept between two. A link that is cut holds what was sent until
//! it is healed, which may be long after the sender has died. Delays depend on the seed, the connection and the moment, and never on
//! how many bytes are sent: those differ from run to run with the keys of TLS.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use async_trait::async_trait;
use baton_platform::{
    address::Address,
    dial::{BoxedIo, Dial},
    listen::Listen,
};
use tokio::sync::oneshot;

use crate::{chance::Chance, life::Life};

mod connection;

use connection::Connection;

/// A place in the network, by number.
pub type Node = usize;

/// What a connection takes at least, in ticks, within a site and between two.
const NEAR: u64 = 1;
const FAR: u64 = 2;

/// A cheap handle.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    seed: u64,
    tick: u64,
    nodes: Vec<Place>,
    links: BTreeMap<(Node, Node), Link>,
    pipes: BTreeMap<u64, Pipe>,
    next_pipe: u64,
    events: BTreeMap<u64, VecDeque<Event>>,
    /// Calls that nobody will answer: they hang until whoever calls gives up.
    lost: Vec<Reply>,
    delivered: u64,
}

struct Place {
    name: String,
    site: String,
    /// The machine has power.
    powered: bool,
    listener: Option<Listener>,
}

struct Listener {
    life: Arc<Life>,
    queue: VecDeque<(Connection, SocketAddr)>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Link {
    cut: bool,
    slow: u64,
    held: Vec<Event>,
}

/// One direction of a connection.
struct Pipe {
    from: Node,
    to: Node,
    twin: u64,
    arrived: VecDeque<u8>,
    ended: Option<End>,
    reader: Option<Waker>,
    /// Whose end it is that reads.
    life: Arc<Life>,
    reader_gone: bool,
    last_due: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Eof,
    Reset,
}

type Reply = oneshot::Sender<io::Result<Connection>>;

enum Event {
    Bytes { pipe: u64, bytes: Vec<u8> },
    End { pipe: u64, end: End },
    Call { from: Node, to: Node, life: Arc<Life>, reply: Reply },
    Answer { from: Node, to: Node, reply: Reply, answer: io::Result<Connection> },
}

impl Network {
    pub fn new(seed: u64, nodes: &[(&str, &str)]) -> Self {
        let place = |(name, site): &(&str, &str)| Place {
            name: (*name).to_owned(),
            site: (*site).to_owned(),
            powered: true,
            listener: None,
        };
        Self(Arc::new(Mutex::new(State {
            seed,
            tick: 0,
            nodes: nodes.iter().map(place).collect(),
            links: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next_pipe: 0,
            events: BTreeMap::new(),
            lost: Vec::new(),
            delivered: 0,
        })))
    }

    /// How a process calls others.
    pub fn dialler(&self, node: Node, life: &Arc<Life>) -> Arc<dyn Dial> {
        Arc::new(SimulatedDial { network: self.clone(), node, life: life.clone() })
    }

    /// Others can call this process from now on.
    pub fn listen(&self, node: Node, life: &Arc<Life>) -> SimulatedListen {
        let listener = Listener { life: life.clone(), queue: VecDeque::new(), waker: None };
        self.lock().nodes[node].listener = Some(listener);
        SimulatedListen { network: self.clone(), node }
    }

    /// Brings what is due at this tick. Returns how many events there were.
    pub fn deliver(&self, tick: u64) -> u64 {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        state.tick = tick;
        let before = state.delivered;
        while let Some(due) = state.events.first_entry().filter(|due| *due.key() <= tick) {
            for event in due.remove() {
                state.arrive(event, &mut wakers);
            }
        }
        let events = state.delivered - before;
        // A waker may run what comes back here.
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        events
    }

    /// What `from` sends does not arrive at `to` any more, or does again.
    pub fn cut(&self, from: Node, to: Node, cut: bool) {
        let mut state = self.lock();
        let link = state.links.entry((from, to)).or_default();
        link.cut = cut;
        if !cut {
            let held = std::mem::take(&mut link.held);
            for event in held {
                let due = state.due(from, to, event.pipe());
                state.schedule(due, event);
            }
        }
    }

    pub fn slow(&self, from: Node, to: Node, ticks: u64) {
        self.lock().links.entry((from, to)).or_default().slow = ticks;
    }

    /// Every connection between the two breaks; both ends hear of it, where they can be reached.
    pub fn reset(&self, a: Node, b: Node) {
        let mut state = self.lock();
        let between: Vec<u64> = state
            .pipes
            .iter()
            .filter(|(_, p)| (p.from, p.to) == (a, b) || (p.from, p.to) == (b, a))
            .map(|(id, _)| *id)
            .collect();
        for pipe in between {
            state.end(pipe, End::Reset);
        }
    }

    /// A process is over. `told`: its machine lives, and says so to whoever was connected.
    pub fn died(&self, node: Node, life: &Arc<Life>, told: bool) {
        let mut state = self.lock();
        state.nodes[node].listener = None;
        let own: Vec<(u64, u64)> = state
            .pipes
            .iter()
            .filter(|(_, pipe)| Arc::ptr_eq(&pipe.life, life))
            .map(|(id, pipe)| (*id, pipe.twin))
            .collect();
        for (own, twin) in own {
            if let Some(pipe) = state.pipes.get_mut(&own) {
                pipe.reader_gone = true;
            }
            if told {
                state.end(twin, End::Reset);
            }
        }
    }

    pub fn power(&self, node: Node, powered: bool) {
        self.lock().nodes[node].powered = powered;
    }

    pub fn site(&self, node: Node) -> String {
        self.lock().nodes[node].site.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    fn pipe(&self) -> Option<u64> {
        match self {
            Event::Bytes { pipe, .. } | Event::End { pipe, .. } => Some(*pipe),
            Event::Call { .. } | Event::Answer { .. } => None,
        }
    }
}

impl State {
    fn latency(&self, from: Node, to: Node, salt: u64) -> u64 {
        let near = self.nodes[from].site == self.nodes[to].site;
        let slow = self.links.get(&(from, to)).map_or(0, |link| link.slow);
        let mut chance = Chance::of(self.seed ^ salt.rotate_left(17) ^ self.tick.rotate_left(40), &["delay"]);
        let jitter = if chance.one_in(40) { chance.up_to(12) } else { chance.up_to(1) };
        (if near { NEAR } else { FAR }) + jitter + if slow > 0 { chance.between(slow / 2, slow) } else { 0 }
    }

    /// When what is sent now arrives; not before what was sent on the same pipe earlier.
    fn due(&mut self, from: Node, to: Node, pipe: Option<u64>) -> u64 {
        let mut due = self.tick + self.latency(from, to, pipe.unwrap_or(u64::MAX));
        if let Some(pipe) = pipe.and_then(|pipe| self.pipes.get_mut(&pipe)) {
            due = due.max(pipe.last_due);
            pipe.last_due = due;
        }
        due
    }

    fn schedule(&mut self, due: u64, event: Event) {
        self.events.entry(due).or_default().push_back(event);
    }

    fn send(&mut self, pipe: u64, bytes: &[u8]) {
        let Some((from, to)) = self.pipes.get(&pipe).map(|pipe| (pipe.from, pipe.to)) else { return };
        let due = self.due(from, to, Some(pipe));
        self.schedule(due, Event::Bytes { pipe, bytes: bytes.to_vec() });
    }

    fn end(&mut self, pipe: u64, end: End) {
        let Some((from, to)) = self.pipes.get(&pipe).map(|pipe| (pipe.from, pipe.to)) else { return };
        let due = self.due(from, to, Some(pipe));
        self.schedule(due, Event::End { pipe, end });
    }

    fn path(&self, event: &Event) -> Option<(Node, Node)> {
        match event {
            Event::Bytes { pipe, .. } | Event::End { pipe, .. } => {
                self.pipes.get(pipe).map(|pipe| (pipe.from, pipe.to))
            }
            Event::Call { from, to, .. } | Event::Answer { from, to, .. } => Some((*from, *to)),
        }
    }

    fn arrive(&mut self, event: Event, wakers: &mut Vec<Waker>) {
        let Some((from, to)) = self.path(&event) else { return };
        if let Some(link) = self.links.get_mut(&(from, to))
            && link.cut
        {
            link.held.push(event);
            return;
        }
        self.delivered += 1;
        match event {
            Event::Call { from, to, life, reply } => self.call(from, to, &life, reply, wakers),
            Event::Answer { reply, answer, .. } => {
                // Whoever called may have given up.
                if let Err(Ok(connection)) = reply.send(answer) {
                    let (out, back) = connection.ends();
                    if let Some(back) = self.pipes.get_mut(&back) {
                        back.reader_gone = true;
                    }
                    self.end(out, End::Eof);
                }
            }
            _ if !self.nodes[to].powered => {}
            Event::Bytes { pipe, bytes } => {
                let pipe = self.pipes.get_mut(&pipe).expect("its path was found above");
                if pipe.reader_gone || pipe.life.is_over() {
                    let twin = pipe.twin;
                    self.end(twin, End::Reset);
                } else if pipe.ended != Some(End::Reset) {
                    pipe.arrived.extend(bytes);
                    wakers.extend(pipe.reader.take());
                }
            }
            Event::End { pipe: id, end } => {
                let pipe = self.pipes.get_mut(&id).expect("its path was found above");
                if pipe.ended != Some(End::Reset) {
                    pipe.ended = Some(end);
                    wakers.extend(pipe.reader.take());
                }
                if pipe.reader_gone && end == End::Eof {
                    self.forget(id);
                }
            }
        }
    }

    fn call(&mut self, from: Node, to: Node, life: &Arc<Life>, reply: Reply, wakers: &mut Vec<Waker>) {
        if !self.nodes[to].powered {
            self.lost.push(reply);
            return;
        }
        let due = self.due(to, from, None);
        let listening = self.nodes[to]
            .listener
            .as_ref()
            .filter(|listener| !listener.life.is_over())
            .map(|listener| listener.life.clone());
        let Some(callee) = listening else {
            let answer = Err(io::ErrorKind::ConnectionRefused.into());
            self.schedule(due, Event::Answer { from: to, to: from, reply, answer });
            return;
        };
        let (there, back) = (self.next_pipe, self.next_pipe + 1);
        self.next_pipe += 2;
        let pipe = |from, to, twin, life: &Arc<Life>| Pipe {
            from,
            to,
            twin,
            arrived: VecDeque::new(),
            ended: None,
            reader: None,
            life: life.clone(),
            reader_gone: false,
            last_due: 0,
        };
        self.pipes.insert(there, pipe(from, to, back, &callee));
        self.pipes.insert(back, pipe(to, from, there, life));
        let peer = address_of(from, 1_000 + u16::try_from(there % 60_000).unwrap_or(0));
        let theirs = Connection::half(back, there, callee);
        let ours = Connection::half(there, back, life.clone());
        if let Some(listener) = &mut self.nodes[to].listener {
            listener.queue.push_back((theirs, peer));
            wakers.extend(listener.waker.take());
        }
        self.schedule(due, Event::Answer { from: to, to: from, reply, answer: Ok(ours) });
    }

    /// Both directions are over.
    fn forget(&mut self, pipe: u64) {
        if let Some(twin) = self.pipes.get(&pipe).map(|pipe| pipe.twin)
            && self.pipes.get(&twin).is_some_and(|twin| twin.reader_gone)
        {
            self.pipes.remove(&pipe);
            self.pipes.remove(&twin);
        }
    }
}

fn address_of(node: Node, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node + 1).unwrap_or(u8::MAX)], port))
}

struct SimulatedDial {
    network: Network,
    node: Node,
    life: Arc<Life>,
}

#[async_trait]
impl Dial for SimulatedDial {
    async fn dial(&self, address: &Address) -> io::Result<BoxedIo> {
        let answer = {
            let mut state = self.network.lock();
            let to = state.nodes.iter().position(|place| place.name == address.host());
            let to = to.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no such host: {address}")))?;
            let (reply, answer) = oneshot::channel();
            let due = state.due(self.node, to, None);
            let (from, life) = (self.node, self.life.clone());
            state.schedule(due, Event::Call { from, to, life, reply });
            answer
        };
        let connection = answer.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))??;
        Ok(Box::new(connection.over(self.network.clone())))
    }
}

pub struct SimulatedListen {
    network: Network,
    node: Node,
}

#[async_trait]
impl Listen for SimulatedListen {
    async fn accept(&mut self) -> io::Result<(BoxedIo, SocketAddr)> {
        let network = self.network.clone();
        std::future::poll_fn(|context| {
            let mut state = network.lock();
            let Some(listener) = &mut state.nodes[self.node].listener else { return Poll::Pending };
            match listener.queue.pop_front() {
                Some((connection, peer)) => {
                    let io: BoxedIo = Box::new(connection.over(network.clone()));
                    Poll::Ready(Ok((io, peer)))
                }
                None => {
                    listener.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address_of(self.node, 7400))
    }
}
