//! Certificates that change under a running server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use baton_platform::address::Address;
use baton_platform::ca::IssueOptions;
use baton_platform::clock::{Clock, ManualClock, SystemClock};
use baton_platform::tls::{AcceptOptions, Connector, ReloadableTls, Reloaded};
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::installation::*;

/// The certificate that a new connection is shown.
async fn shown(connector: &Connector, address: &Address) -> CertificateDer<'static> {
    let connection = connector.connect(address).await.unwrap();
    connection.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn on_disk(directory: &Path) -> CertificateDer<'static> {
    certificates(&directory.join("cert.pem")).remove(0)
}

fn copy(from: &Path, to: &Path, files: &[&str]) {
    for file in files {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

const IDENTITY: &str = "baton://coordinator/c1";
const ADDRESSES: &[&str] = &["127.0.0.1"];

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_open_connections_live_on() {
    let installation = Installation::new();
    let directory = installation.identity_directory(IDENTITY, ADDRESSES);
    let tls = ReloadableTls::load(&directory).unwrap();
    let server = RunningServer::start(tls.clone(), AcceptOptions::default()).await;
    let connector = connector(installation.agent());
    let channel = connector.channel(&server.address);
    call(channel.clone()).await.unwrap();
    let old = on_disk(&directory);
    assert_eq!(shown(&connector, &server.address).await, old);

    installation.identity_directory(IDENTITY, ADDRESSES);
    assert_ne!(on_disk(&directory), old);
    assert_eq!(shown(&connector, &server.address).await, old, "not before it is told");
    assert_eq!(tls.reload(), Reloaded::Renewed);
    assert_eq!(shown(&connector, &server.address).await, on_disk(&directory));
    call(channel).await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_old_certificate_in_service() {
    let installation = Installation::new();
    let other = Installation::new();
    let directory = installation.identity_directory(IDENTITY, ADDRESSES);
    let spare = installation.path().join("spare");
    std::fs::create_dir(&spare).unwrap();
    let all = ["ca.pem", "cert.pem", "key.pem"];
    copy(&directory, &spare, &all);

    let tls = ReloadableTls::load(&directory).unwrap();
    let server = RunningServer::start(tls.clone(), AcceptOptions::default()).await;
    let connector = connector(installation.agent());
    let good = on_disk(&directory);
    let somebody_else = installation.identity_directory("baton://coordinator/c2", ADDRESSES);
    let foreign = other.identity_directory(IDENTITY, ADDRESSES);

    type Spoil<'a> = Box<dyn Fn() + 'a>;
    let spoils: [(&str, Spoil<'_>); 6] = [
        ("no PEM", Box::new(|| std::fs::write(directory.join("cert.pem"), "garbage").unwrap())),
        (
            "cut off",
            Box::new(|| std::fs::write(directory.join("key.pem"), "-----BEGIN PRIVATE KEY-----\nMIG").unwrap()),
        ),
        ("not there", Box::new(|| std::fs::remove_file(directory.join("ca.pem")).unwrap())),
        ("a key of another certificate", Box::new(|| copy(&somebody_else, &directory, &["key.pem"]))),
        ("somebody else's", Box::new(|| copy(&somebody_else, &directory, &all))),
        ("a certificate of another authority", Box::new(|| copy(&foreign, &directory, &["cert.pem", "key.pem"]))),
    ];
    for (what, spoil) in spoils {
        spoil();
        assert_eq!(tls.reload(), Reloaded::Kept, "{what}");
        assert_eq!(shown(&connector, &server.address).await, good, "{what}");
        copy(&spare, &directory, &all);
        assert_eq!(tls.reload(), Reloaded::Renewed, "{what}, mended");
    }
}

#[tokio::test]
async fn a_new_authority_is_trusted_and_the_old_one_no_more() {
    let (old, new) = (Installation::new(), Installation::new());
    let directory = old.identity_directory(IDENTITY, ADDRESSES);
    let tls = ReloadableTls::load(&directory).unwrap();
    let server = RunningServer::start(tls.clone(), AcceptOptions::default()).await;
    let (old_agent, new_agent) = (old.agent(), new.agent());
    call(connector(old_agent.clone()).channel(&server.address)).await.unwrap();
    call(connector(new_agent.clone()).channel(&server.address)).await.unwrap_err();

    copy(&new.identity_directory(IDENTITY, ADDRESSES), &directory, &["ca.pem", "cert.pem", "key.pem"]);
    assert_eq!(tls.reload(), Reloaded::Renewed);
    call(connector(new_agent).channel(&server.address)).await.unwrap();
    call(connector(old_agent).channel(&server.address)).await.unwrap_err();
}

#[tokio::test]
async fn a_watched_directory_is_read_again_when_its_files_change() {
    let installation = Installation::new();
    let directory = installation.identity_directory(IDENTITY, ADDRESSES);
    let tls = ReloadableTls::load(&directory).unwrap();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(tls.clone().watch(Duration::from_millis(10), stop.clone()));
    let server = RunningServer::start(tls.clone(), AcceptOptions::default()).await;
    let connector = connector(installation.agent());

    for _ in 0..3 {
        installation.identity_directory(IDENTITY, ADDRESSES);
        let wanted = on_disk(&directory);
        wait_until("the new certificate is served", async || shown(&connector, &server.address).await == wanted).await;
    }
    let in_use = tls.material();
    std::fs::write(directory.join("cert.pem"), "garbage").unwrap();
    wait_until("the garbage is seen", async || tls.problem().is_some()).await;
    assert!(tls.problem().unwrap().contains("cert.pem"));
    assert!(Arc::ptr_eq(&in_use, &tls.material()), "garbage changes nothing");
    shown(&connector, &server.address).await;

    installation.identity_directory(IDENTITY, ADDRESSES);
    let wanted = on_disk(&directory);
    wait_until("the watch goes on after a bad file", async || shown(&connector, &server.address).await == wanted).await;
    assert_eq!(tls.problem(), None);
    stop.cancel();
    tokio::time::timeout(DEADLINE, watching).await.expect("the watch ends with its token").unwrap();
}

#[tokio::test]
async fn a_client_uses_its_renewed_certificate_when_it_reconnects() {
    let (old, new) = (Installation::new(), Installation::new());
    let server = RunningServer::start(new.coordinator(), AcceptOptions::default()).await;
    let directory = old.identity_directory("baton://agent/db1", &[]);
    let tls = ReloadableTls::load(&directory).unwrap();
    let channel = connector(tls.clone()).channel(&server.address);
    call(channel.clone()).await.unwrap_err();
    copy(&new.identity_directory("baton://agent/db1", &[]), &directory, &["ca.pem", "cert.pem", "key.pem"]);
    assert_eq!(tls.reload(), Reloaded::Renewed);
    call(channel).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_has_run_out_is_loaded_with_a_warning_refused_by_others_and_never_put_in_the_place_of_a_good_one()
 {
    let installation = Installation::new();
    let last_week = ManualClock::at_unix_ms(SystemClock::new().now_unix_ms() - 7 * 86_400_000);
    let day = IssueOptions { validity: Duration::from_secs(86_400) };
    let expired = installation.path().join("expired");
    let host = "db1".parse().unwrap();
    installation.ca.issue_agent(&host, &day, &last_week).unwrap().write(&expired).unwrap();

    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    let old = ReloadableTls::load(&expired).unwrap();
    let status = call(connector(old).channel(&server.address)).await.unwrap_err();
    assert!(whole(&status).contains("CertificateExpired"), "{}", whole(&status));

    let directory = installation.identity_directory("baton://agent/db1", &[]);
    let tls = ReloadableTls::load(&directory).unwrap();
    copy(&expired, &directory, &["key.pem", "cert.pem"]);
    assert_eq!(tls.reload(), Reloaded::Kept);
    assert_eq!(tls.problem().unwrap().as_str(), "the new certificate is not valid today");
    call(connector(tls).channel(&server.address)).await.unwrap();
}

#[test]
fn a_key_that_others_may_read_is_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let installation = Installation::new();
    let tls = installation.agent();
    assert!(!tls.material().key_is_exposed());
    let key = installation.path().join("agent-db1/key.pem");
    for (mode, exposed) in [(0o640, true), (0o604, true), (0o400, false)] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(tls.reload(), Reloaded::Renewed);
        assert_eq!(tls.material().key_is_exposed(), exposed, "{mode:o}");
    }
}

#[test]
fn what_cannot_be_used_at_first_is_an_error_that_names_the_file() {
    let installation = Installation::new();
    let directory = installation.identity_directory(IDENTITY, ADDRESSES);
    std::fs::remove_file(directory.join("key.pem")).unwrap();
    let error = ReloadableTls::load(&directory).unwrap_err().to_string();
    assert!(error.starts_with("BTN-0303") && error.contains("key.pem") && error.contains("baton ca issue"), "{error}");
    std::fs::write(directory.join("key.pem"), "").unwrap();
    let error = ReloadableTls::load(&directory).unwrap_err().to_string();
    assert!(error.starts_with("BTN-0304") && error.contains("key.pem"), "{error}");
}
