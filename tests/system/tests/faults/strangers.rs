//! A thousand callers without a certificate, while a run is open: none gets in, and nobody who may come in waits for them.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use baton_platform::identity::Role;
use baton_system_tests::{PATIENCE, World, stricken::Party};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};

use super::{finishes, under_way, whole_again};

const STRANGERS: usize = 1000;
/// Handshakes that the test does at the same time; connected are all of them.
const THREADS: usize = 25;

/// A thousand of this process's, and as many of the coordinator's, which has the limit from here.
fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(8192, |maximum| maximum.min(8192));
    if now.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum }).expect("below the maximum");
    }
}

fn anonymous(world: &World) -> Arc<rustls::ClientConfig> {
    let ca = world.cluster.operator("operator", Role::Admin).expect("an identity").join("ca.pem");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&ca).expect("a file") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Connected, and silent.
fn connected(world: &World, number: usize) -> Vec<TcpStream> {
    let address = world.cluster.coordinator_address(number);
    let one = || {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    };
    (0..STRANGERS).map(|_| one()).collect()
}

#[test]
fn a_thousand_callers_without_a_certificate_are_refused_and_the_run_goes_on() {
    raise_open_files();
    let (mut world, run) = under_way();
    let leader = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let party = Party::Coordinator(leader);
    let (config, name) =
        (anonymous(&world), ServerName::IpAddress(world.cluster.coordinator_address(leader).ip().into()));
    let log = party.log(&world).len();
    let streams = connected(&world, leader);
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut parts: Vec<Vec<TcpStream>> = (0..THREADS).map(|_| Vec::new()).collect();
        streams.into_iter().enumerate().for_each(|(number, stream)| parts[number % THREADS].push(stream));
        for part in parts {
            let (config, name, refused) = (&config, &name, &refused);
            scope.spawn(move || {
                for mut socket in part {
                    let mut session = rustls::ClientConnection::new(config.clone(), name.clone()).expect("a client");
                    let mut stream = rustls::Stream::new(&mut session, &mut socket);
                    let answer =
                        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").and_then(|()| stream.read(&mut [0; 64]));
                    let error = answer.expect_err("nothing is answered").to_string();
                    assert!(error.contains("CertificateRequired"), "{error}");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Meanwhile, for those who may: new connections all of them.
        for gate in ["first", "second", "third"] {
            let said = world.baton(&["status"]);
            assert_eq!(said.code, 0, "{said:?}");
            world.begun(gate, 1);
            world.release(gate);
        }
    });
    assert_eq!(refused.load(Ordering::Relaxed), STRANGERS);
    finishes(&world, &run);
    let log = party.log(&world)[log..].to_owned();
    let told = log.lines().filter(|line| line.contains("BTN-0301")).count();
    assert!(told > 0, "why they were refused: {log}");
    whole_again(&mut world);
}

/// Also where an assertion fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_callers_that_say_nothing_do_not_keep_others_out() {
    raise_open_files();
    let (mut world, run) = under_way();
    let leader = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let silent = Mutex::new(connected(&world, leader));
    let address = world.cluster.coordinator_address(leader);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Whoever is hung up on comes again at once: there is always a thousand of them before anybody else.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for stream in silent.lock().expect("whole").iter_mut() {
                    stream.set_nonblocking(true).expect("set");
                    if matches!(stream.read(&mut [0; 1]), Ok(0)) {
                        *stream = TcpStream::connect(address).expect("it listens");
                    }
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let _over = Over(&over);
        for gate in ["first", "second", "third"] {
            let said = world.baton(&["--coordinator", &address.to_string(), "--timeout", "15s", "status"]);
            assert_eq!(said.code, 0, "{said:?}");
            world.begun(gate, 1);
            world.release(gate);
        }
    });
    finishes(&world, &run);
    drop(silent);
    whole_again(&mut world);
}
