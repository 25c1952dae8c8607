//! Clients that write all the time: one beside each host's component, whom no cut reaches, and one outside, who takes whoever answers.
//!
//! Each is a thread in its place's namespace. It keeps what was acknowledged to it, and asks nobody who is primary. It must never
//! make anything up: what was not answered was not acknowledged.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    component,
    judge::Ack,
    network::{HOSTS, Network, OUTSIDE, address},
};

const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(200);

/// All of a world. Dropped, they go.
pub struct Clients {
    acks: Arc<Mutex<Vec<Ack>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub fn start(network: &Network) -> Result<Self> {
        let mut clients = Self { acks: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for host in HOSTS {
            clients.add(network, host, vec![Ipv4Addr::LOCALHOST])?;
        }
        clients.add(network, OUTSIDE, HOSTS.map(address).to_vec())?;
        Ok(clients)
    }

    fn add(&mut self, network: &Network, place: &str, targets: Vec<Ipv4Addr>) -> Result<()> {
        let file = network.file(place);
        let namespace = File::open(&file).with_context(|| format!("open {}", file.display()))?;
        let (acks, stop) = (Arc::clone(&self.acks), Arc::clone(&self.stop));
        self.threads.push(thread::spawn(move || {
            // The thread's own; the others stay where they are.
            use std::os::fd::AsFd as _;
            let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            entered.expect("the superuser may enter what he has made");
            let mut targets = targets.iter().cycle();
            while !stop.load(Ordering::Relaxed) {
                let target = targets.next().expect("it has some");
                drop(write_to(SocketAddr::from((*target, component::PORT)), &acks, &stop));
                thread::sleep(PAUSE);
            }
        }));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ack>> {
        self.acks.lock().expect("nobody panics while holding them")
    }

    /// Everything that was acknowledged, by whomever.
    pub fn acks(&self) -> Vec<Ack> {
        self.lock().clone()
    }

    /// How many writes this host has taken in this epoch.
    pub fn taken(&self, host: &str, epoch: u64) -> usize {
        self.lock().iter().rev().filter(|ack| ack.host == host && ack.epoch == epoch).count()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// As long as it goes well.
fn write_to(target: SocketAddr, acks: &Mutex<Vec<Ack>>, stop: &AtomicBool) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(b"write\n")?;
        line.clear();
        answers.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let host = words.next().context("no answer")?.to_owned();
        let epoch = words.next().context("no epoch")?.parse()?;
        let at_ns = words.next().context("no time")?.parse()?;
        acks.lock().expect("nobody panics while holding them").push(Ack { host, epoch, at_ns });
        thread::sleep(PAUSE);
    }
    Ok(())
}
