//! What the authority makes, as files and as certificates.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use baton_platform::ca::{CaError, CertificateAuthority, CreateOptions, IssueOptions, Issued};
use baton_platform::clock::{ManualClock, SystemClock};
use baton_platform::identity::{self, Identity, IdentityError, Name, Role};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{GeneralName, X509Certificate};

use crate::installation::Installation;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate_pem().as_bytes()).unwrap()
}

fn usages(certificate: &X509Certificate<'_>) -> (bool, bool) {
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    (usage.server_auth, usage.client_auth)
}

#[test]
fn each_kind_of_certificate_says_who_it_is_and_what_it_is_for() {
    let installation = Installation::new();
    let (ca, options, clock) = (&installation.ca, IssueOptions::default(), SystemClock::new());
    let addresses = ["c1.example.org".to_owned(), "10.1.2.3".to_owned(), "::1".to_owned()];
    let made = [
        (
            ca.issue_coordinator(&name("c1"), &addresses, &options, &clock).unwrap(),
            "baton://coordinator/c1",
            (true, true),
        ),
        (
            ca.issue_agent(&name("pomdb1.example.org"), &options, &clock).unwrap(),
            "baton://agent/pomdb1.example.org",
            (false, true),
        ),
        (
            ca.issue_operator(&name("ana"), Role::Approver, &options, &clock).unwrap(),
            "baton://operator/ana?role=approver",
            (false, true),
        ),
    ];
    for (issued, uri, usage) in &made {
        let der = der(issued);
        assert_eq!(identity::of_certificate(&der).unwrap(), *issued.identity());
        assert_eq!(issued.identity().to_string(), *uri);
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(usages(&certificate), *usage, "{uri}");
        assert!(!certificate.is_ca());
    }
    let der = der(&made[0].0);
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let names: Vec<String> = certificate
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => format!("{bytes:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "c1.example.org",
            "[10, 1, 2, 3]",
            "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]",
            "baton://coordinator/c1"
        ]
    );
}

#[test]
fn keys_are_for_their_owner_alone_and_nothing_is_overwritten() {
    let installation = Installation::new();
    let ca_directory = installation.path().join("ca");
    assert_eq!(mode(&ca_directory), 0o700);
    assert_eq!((mode(&ca_directory.join("ca-key.pem")), mode(&ca_directory.join("ca.pem"))), (0o600, 0o644));
    let before = std::fs::read(ca_directory.join("ca-key.pem")).unwrap();
    let options = CreateOptions::named(name("again"));
    let error = CertificateAuthority::create(&ca_directory, &options, &SystemClock::new()).unwrap_err();
    assert!(matches!(&error, CaError::Exists(path) if path.ends_with("ca-key.pem")), "{error}");
    // Only the certificate is left: still an authority's directory.
    std::fs::remove_file(ca_directory.join("ca-key.pem")).unwrap();
    CertificateAuthority::create(&ca_directory, &options, &SystemClock::new()).unwrap_err();
    assert!(!ca_directory.join("ca-key.pem").exists());
    std::fs::write(ca_directory.join("ca-key.pem"), before).unwrap();

    let issued = installation.ca.issue_agent(&name("db1"), &IssueOptions::default(), &SystemClock::new()).unwrap();
    let directory = installation.path().join("new/db1");
    issued.write(&directory).unwrap();
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(["ca.pem", "cert.pem", "key.pem"].map(|file| mode(&directory.join(file))), [0o644, 0o644, 0o600]);
    assert!(matches!(issued.write(&directory).unwrap_err(), CaError::Exists(_)));
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}

#[test]
fn an_authority_opened_again_signs_what_the_first_one_signed() {
    let installation = Installation::new();
    let again = CertificateAuthority::open(&installation.path().join("ca")).unwrap();
    assert_eq!(again.certificate_pem(), installation.ca.certificate_pem());
    let directory = installation.path().join("db1");
    again.issue_agent(&name("db1"), &IssueOptions::default(), &SystemClock::new()).unwrap().write(&directory).unwrap();
    // Loading verifies the signature.
    baton_platform::tls::Material::load(&directory).unwrap();
}

#[test]
fn an_authority_whose_files_do_not_belong_together_is_refused() {
    let (one, other) = (Installation::new(), Installation::new());
    let directory = one.path().join("ca");
    std::fs::copy(other.path().join("ca/ca-key.pem"), directory.join("ca-key.pem")).unwrap();
    let error = CertificateAuthority::open(&directory).unwrap_err().to_string();
    assert!(error.starts_with("BTN-0316") && error.contains("does not belong to"), "{error}");
    let agent = other.identity_directory("baton://agent/db1", &[]);
    std::fs::copy(agent.join("cert.pem"), directory.join("ca.pem")).unwrap();
    let error = CertificateAuthority::open(&directory).unwrap_err().to_string();
    assert!(error.contains("not the certificate of an authority"), "{error}");
}

#[test]
fn a_certificate_begins_an_hour_ago_and_ends_when_it_was_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_unix_ms(1_800_000_000_000);
    let day = Duration::from_secs(86_400);
    let options = CreateOptions { name: name("short"), validity: day * 30 };
    let ca = CertificateAuthority::create(directory.path(), &options, &clock).unwrap();
    assert_eq!(ca.not_after_unix_s(), 1_800_000_000 + 30 * 86_400);

    let issued = ca.issue_agent(&name("db1"), &IssueOptions { validity: day * 7 }, &clock).unwrap();
    let der = der(&issued);
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let validity = certificate.validity();
    assert_eq!(validity.not_before.timestamp(), 1_800_000_000 - 3_600);
    assert_eq!(validity.not_after.timestamp(), 1_800_000_000 + 7 * 86_400);

    let error = ca.issue_agent(&name("db1"), &IssueOptions { validity: day * 31 }, &clock).unwrap_err().to_string();
    assert!(error.contains("2027-02-15") && error.contains("2027-02-14"), "{error}");
    for impossible in [Duration::ZERO, Duration::MAX] {
        let error = ca.issue_agent(&name("db1"), &IssueOptions { validity: impossible }, &clock).unwrap_err();
        assert!(matches!(error, CaError::Validity(_)), "{error}");
    }
}

#[test]
fn an_address_that_no_client_could_verify_is_refused() {
    let installation = Installation::new();
    let issue = |addresses: &[&str]| {
        let addresses: Vec<String> = addresses.iter().map(|&text| text.to_owned()).collect();
        installation.ca.issue_coordinator(&name("c1"), &addresses, &IssueOptions::default(), &SystemClock::new())
    };
    for bad in ["", "a b", "host:7400", "https://host", "-host", "*"] {
        assert!(matches!(issue(&[bad]).unwrap_err(), CaError::AlternativeName(text) if text == bad), "{bad:?}");
    }
    assert!(matches!(issue(&[]).unwrap_err(), CaError::NoAlternativeName));
}

#[test]
fn a_request_gets_the_name_that_the_authority_gives_and_not_the_one_it_asks_for() {
    let installation = Installation::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::new(vec!["c1.example.org".to_owned()]).unwrap();
    wish.subject_alt_names.push(rcgen::SanType::URI("baton://operator/eve?role=admin".try_into().unwrap()));
    let request = wish.serialize_request(&key).unwrap().pem().unwrap();

    let host = Identity::Agent { host: name("db1") };
    let sign = |request: &str| {
        let options = IssueOptions::default();
        installation.ca.issue_for_request(request, host.clone(), &[], &options, &SystemClock::new())
    };
    let issued = sign(&request).unwrap();
    assert!(issued.key_pem().is_none());
    assert_eq!(identity::of_certificate(&der(&issued)).unwrap(), host);
    // The key stays where it was made, and the directory is then complete.
    let directory = installation.path().join("joined");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    issued.replace(&directory).unwrap();
    assert_eq!(*baton_platform::tls::Material::load(&directory).unwrap().identity(), host);

    // A request that was changed on the way no longer carries a signature of its key.
    assert!(matches!(sign("nonsense").unwrap_err(), CaError::Request(_)));
    let mut other =
        rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap().serialize_request(&key).unwrap().der().to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    let tampered =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", rustls_base64(&other));
    assert!(matches!(sign(&tampered).unwrap_err(), CaError::Request(_)));
}

/// PEM's base64, which no dependency of this crate offers.
fn rustls_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        (0..4)
            .map(move |n| if n <= chunk.len() { LETTERS[(bits >> (18 - 6 * n) & 63) as usize] as char } else { '=' })
            .collect::<String>()
    };
    bytes.chunks(48).map(|line| line.chunks(3).map(group).collect::<String>()).collect::<Vec<_>>().join("\n")
}

fn with_uris(uris: &[&str]) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["db1".to_owned()]).unwrap();
    params.subject_alt_names.extend(uris.iter().map(|&uri| rcgen::SanType::URI(uri.try_into().unwrap())));
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn a_certificate_with_no_name_or_several_is_nobodys() {
    let read = |uris: &[&str]| identity::of_certificate(&with_uris(uris));
    assert!(matches!(read(&[]).unwrap_err(), IdentityError::Missing { .. }));
    assert!(matches!(read(&["https://example.org"]).unwrap_err(), IdentityError::Missing { .. }));
    let two = ["baton://agent/db1", "baton://operator/eve?role=admin"];
    assert_eq!(read(&two).unwrap_err(), IdentityError::Several { found: two.map(str::to_owned).to_vec() });
    assert!(matches!(read(&["baton://agent/DB1"]).unwrap_err(), IdentityError::Unreadable(_)));
    // Other URIs are other people's business.
    let mixed = read(&["https://example.org", "baton://agent/db1"]).unwrap();
    assert_eq!(mixed, Identity::Agent { host: name("db1") });
    assert!(matches!(identity::of_certificate(b"no DER").unwrap_err(), IdentityError::Malformed(_)));
}
