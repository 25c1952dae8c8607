//! Every pairing of what a client wants encrypted and what the server is set to.

use baton_sqlserver::tds::Encryption;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};

use crate::authority::Authority;
use crate::toy::{Event, Instance, PASSWORD, USER};

pub type Tiberius = Client<Compat<TcpStream>>;

pub fn config(instance: &Instance, level: EncryptionLevel) -> Config {
    let mut config = Config::new();
    config.host("localhost");
    config.port(instance.address.port());
    config.authentication(AuthMethod::sql_server(USER, PASSWORD));
    config.application_name("a test");
    config.encryption(level);
    config
}

pub async fn connect(instance: &Instance, config: Config) -> tiberius::Result<Tiberius> {
    let socket = TcpStream::connect(instance.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    Client::connect(config, socket.compat_write()).await
}

/// Without TLS.
pub async fn connect_plain(instance: &Instance) -> Tiberius {
    connect(instance, config(instance, EncryptionLevel::NotSupported)).await.unwrap()
}

async fn select_one(client: &mut Tiberius) -> i32 {
    let row = client.simple_query("SELECT 1").await.unwrap().into_row().await.unwrap().unwrap();
    row.try_get::<i32, _>(0).unwrap().unwrap()
}

fn server_says_encrypted(instance: &Instance) -> bool {
    let of = |event: &Event| match event {
        Event::LoggedIn(_, login) => Some(login.encrypted),
        _ => None,
    };
    instance.toy.events().iter().rev().find_map(of).expect("somebody logged in")
}

/// What the pairing comes to: everything encrypted or not, or no login.
async fn pairing(server: Encryption, client: EncryptionLevel) -> Option<bool> {
    let authority = Authority::new();
    let instance = Instance::start(server, Some(authority.server())).await;
    let mut config = config(&instance, client);
    config.trust_cert_ca(authority.certificate.path().to_str().unwrap());
    match connect(&instance, config).await {
        Ok(mut client) => {
            assert_eq!(select_one(&mut client).await, 1);
            // The second request goes the way of the first.
            assert_eq!(select_one(&mut client).await, 1);
            Some(server_says_encrypted(&instance))
        }
        Err(_) => {
            assert!(instance.toy.sessions().is_empty());
            None
        }
    }
}

#[tokio::test]
async fn every_pairing_comes_to_what_the_protocol_says() {
    use EncryptionLevel::{NotSupported, Off, On, Required, Strict};
    let expected = [
        (Encryption::Available, Off, Some(false)),
        (Encryption::Available, On, Some(true)),
        (Encryption::Available, NotSupported, Some(false)),
        (Encryption::Available, Required, Some(true)),
        (Encryption::Available, Strict, Some(true)),
        (Encryption::Forced, Off, Some(true)),
        (Encryption::Forced, On, Some(true)),
        (Encryption::Forced, NotSupported, None),
        (Encryption::Forced, Required, Some(true)),
        (Encryption::Forced, Strict, Some(true)),
        // tiberius begins TLS although the server cannot.
        (Encryption::None, Off, None),
        (Encryption::None, On, None),
        (Encryption::None, NotSupported, Some(false)),
        (Encryption::None, Required, None),
        (Encryption::None, Strict, None),
    ];
    for (server, client, outcome) in expected {
        assert_eq!(pairing(server, client).await, outcome, "server {server:?}, client {client:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_the_client() {
    let (ours, other) = (Authority::new(), Authority::new());
    let instance = Instance::start(Encryption::Available, Some(ours.server())).await;
    for level in [EncryptionLevel::Required, EncryptionLevel::Strict] {
        let mut config = config(&instance, level);
        config.trust_cert_ca(other.certificate.path().to_str().unwrap());
        let error = connect(&instance, config).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert_eq!(instance.toy.events(), []);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_by_the_client() {
    let authority = Authority::new();
    let instance = Instance::start(Encryption::Available, Some(authority.server())).await;
    let mut config = config(&instance, EncryptionLevel::Required);
    config.host("elsewhere");
    config.trust_cert_ca(authority.certificate.path().to_str().unwrap());
    let error = connect(&instance, config).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn an_instance_without_a_certificate_makes_its_own() {
    let instance = Instance::start(Encryption::Forced, None).await;
    let mut config = config(&instance, EncryptionLevel::Required);
    config.trust_cert();
    assert_eq!(select_one(&mut connect(&instance, config).await.unwrap()).await, 1);
}

/// The race that a wrapper which does not look at every packet loses now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_logins_at_once_all_succeed_in_every_mode() {
    let authority = Authority::new();
    let instance = Instance::start(Encryption::Available, Some(authority.server())).await;
    for level in
        [EncryptionLevel::Off, EncryptionLevel::Required, EncryptionLevel::Strict, EncryptionLevel::NotSupported]
    {
        let logins = (0..25).map(|_| {
            let mut config = config(&instance, level);
            config.trust_cert_ca(authority.certificate.path().to_str().unwrap());
            async { select_one(&mut connect(&instance, config).await.unwrap()).await }
        });
        assert_eq!(futures::future::join_all(logins).await, [1; 25], "{level:?}");
    }
}
