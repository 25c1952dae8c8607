//! Who vouches for an instance of a test.
//!
//! Apart because several test programs want it, and none wants to know certificates. Include it with
//! `#[path = "clients/authority.rs"] mod authority;`.

#![allow(dead_code)] // Each test program uses what it needs.

use std::io::Write as _;

use baton_sqlserver::tds::Certificate;

/// A certificate authority, and a certificate for `localhost` of it, in files.
pub struct Authority {
    pub certificate: tempfile::NamedTempFile,
    pub server_chain: tempfile::NamedTempFile,
    pub server_key: tempfile::NamedTempFile,
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".pem").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        let certificate = parameters.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(parameters, key);
        let server_key = rcgen::KeyPair::generate().unwrap();
        let mut server = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        server.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        let server_certificate = server.signed_by(&server_key, &issuer).unwrap();
        Self {
            certificate: file(&certificate.pem()),
            server_chain: file(&server_certificate.pem()),
            server_key: file(&server_key.serialize_pem()),
        }
    }

    pub fn server(&self) -> Certificate {
        Certificate::read(self.server_chain.path(), self.server_key.path()).unwrap()
    }
}
