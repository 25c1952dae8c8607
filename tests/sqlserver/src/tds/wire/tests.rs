use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::DuplexStream;

use super::*;

/// Server and client of a version of TLS, without tickets.
fn configs(version: &'static rustls::SupportedProtocolVersion) -> (Arc<ServerConfig>, ClientConnection) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], made.signing_key.into())
        .unwrap();
    server.send_tls13_tickets = 0;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    (Arc::new(server), ClientConnection::new(Arc::new(client), name).unwrap())
}

fn records(client: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    records
}

fn in_packet(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut outbox = Outbox::new(kind, 32_000);
    outbox.body.put_slice(body);
    outbox.end().to_vec()
}

/// The handshake as clients do it, and a batch right behind its last words, in pieces of so many bytes.
async fn hurry(mut socket: DuplexStream, mut client: ClientConnection, piece: usize) -> Vec<u8> {
    let mut received = BytesMut::new();
    while client.is_handshaking() {
        let records = records(&mut client);
        if !records.is_empty() {
            socket.write_all(&in_packet(Kind::Prelogin, &records)).await.unwrap();
        }
        if client.is_handshaking() {
            socket.read_buf(&mut received).await.unwrap();
            while let Some(packet) = packet::split(&mut received).unwrap() {
                assert_eq!(packet.kind, Kind::Prelogin);
                client.read_tls(&mut &packet.body[..]).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    }
    let mut last = records(&mut client);
    if !last.is_empty() {
        last = in_packet(Kind::Prelogin, &last);
    }
    client.writer().write_all(&in_packet(Kind::Batch, b"asked")).unwrap();
    last.extend(records(&mut client));
    for piece in last.chunks(piece) {
        socket.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    // What comes now is in no packet.
    let mut answer = Vec::new();
    while answer.len() < 16 {
        let mut records = Vec::new();
        socket.read_buf(&mut records).await.unwrap();
        let mut records = &records[..];
        while !records.is_empty() {
            client.read_tls(&mut records).unwrap();
            let available = client.process_new_packets().unwrap().plaintext_bytes_to_read();
            let start = answer.len();
            answer.resize(start + available, 0);
            client.reader().read_exact(&mut answer[start..]).unwrap();
        }
    }
    answer
}

#[tokio::test]
async fn the_first_bare_record_is_understood_however_it_comes_after_the_last_wrapped_one() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for piece in [1, 7, 64, 100_000] {
            let (server, client) = configs(version);
            let (near, far) = tokio::io::duplex(64 * 1024);
            let serve = async {
                let mut wire = Wire::new(near);
                wire.encrypt_wrapped(server).await.unwrap();
                let packet = wire.packet().await.unwrap();
                assert_eq!((packet.kind, &packet.body[..]), (Kind::Batch, &b"asked"[..]));
                wire.write(&in_packet(Kind::Reply, b"answered")).await.unwrap();
                wire
            };
            let (_wire, answer) = tokio::join!(serve, hurry(far, client, piece));
            assert_eq!(answer, in_packet(Kind::Reply, b"answered"), "{version:?} {piece}");
        }
    }
}
