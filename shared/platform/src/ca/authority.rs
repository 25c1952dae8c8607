//! The authority itself: made once, opened to sign.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::{
    CA_CERTIFICATE_FILE, CA_KEY_FILE, CA_VALIDITY_DEFAULT, CERTIFICATE_VALIDITY_DEFAULT, CLOCK_SKEW_MAX, CaError,
    Issued, issued,
};
use crate::clock::Clock;
use crate::identity::{Identity, Name, Role};

/// How an authority is made.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Shown as the issuer in every certificate.
    pub name: Name,
    /// How long it can sign.
    pub validity: Duration,
}

impl CreateOptions {
    /// An authority of this name, with the default validity.
    pub fn named(name: Name) -> Self {
        Self { name, validity: CA_VALIDITY_DEFAULT }
    }
}

/// How a certificate is made.
#[derive(Debug, Clone)]
pub struct IssueOptions {
    /// How long it can be used.
    pub validity: Duration,
}

impl Default for IssueOptions {
    fn default() -> Self {
        Self { validity: CERTIFICATE_VALIDITY_DEFAULT }
    }
}

/// An authority that can sign: certificate and key.
#[derive(Debug)]
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    not_after_unix_s: i64,
}

impl CertificateAuthority {
    /// Makes a new authority in a directory, which is created if need be. Nothing is overwritten.
    pub fn create(directory: &Path, options: &CreateOptions, clock: &dyn Clock) -> Result<Self, CaError> {
        let (key_path, certificate_path) = (directory.join(CA_KEY_FILE), directory.join(CA_CERTIFICATE_FILE));
        for path in [&key_path, &certificate_path] {
            if path.symlink_metadata().is_ok() {
                return Err(CaError::Exists(path.clone()));
            }
        }
        let (not_before, not_after) = period(options.validity, clock)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(options.name.as_str(), "certificate authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_period(&mut params, (not_before, not_after));
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        let key_pem = Zeroizing::new(key.serialize_pem());

        issued::create_directory(directory)?;
        // The key first: an authority without a key would look complete and sign nothing.
        issued::write_new(&key_path, key_pem.as_bytes(), 0o600)?;
        issued::write_new(&certificate_path, certificate_pem.as_bytes(), 0o644)?;
        Self::open(directory)
    }

    /// Opens the authority that a directory holds.
    pub fn open(directory: &Path) -> Result<Self, CaError> {
        let (key_path, certificate_path) = (directory.join(CA_KEY_FILE), directory.join(CA_CERTIFICATE_FILE));
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| CaError::File { verb: "read", path: path.into(), source })
        };
        let certificate_pem = read(&certificate_path)?;
        let key_pem = Zeroizing::new(read(&key_path)?);
        let unusable = |path: &Path, reason: String| CaError::Unusable { path: path.into(), reason };

        let key =
            KeyPair::from_pem(&key_pem).map_err(|error| unusable(&key_path, format!("no private key: {error}")))?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| unusable(&certificate_path, format!("no certificate: {error}")))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| unusable(&certificate_path, format!("no certificate: {error}")))?;
        if !parsed.is_ca() {
            return Err(unusable(&certificate_path, "it is not the certificate of an authority".into()));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(unusable(&certificate_path, format!("it does not belong to {}", key_path.display())));
        }
        let not_after_unix_s = parsed.validity().not_after.timestamp();
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { issuer, certificate_pem, not_after_unix_s })
    }

    /// The certificate that everybody trusts (PEM).
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// When this authority ends, in seconds since 1970.
    pub fn not_after_unix_s(&self) -> i64 {
        self.not_after_unix_s
    }

    /// A coordinator: called under `addresses` (DNS names and IP addresses), and calls other coordinators.
    pub fn issue_coordinator(
        &self,
        name: &Name,
        addresses: &[String],
        options: &IssueOptions,
        clock: &dyn Clock,
    ) -> Result<Issued, CaError> {
        self.issue(Identity::Coordinator { name: name.clone() }, addresses, options, clock)
    }

    /// The agent of one host.
    pub fn issue_agent(&self, host: &Name, options: &IssueOptions, clock: &dyn Clock) -> Result<Issued, CaError> {
        self.issue(Identity::Agent { host: host.clone() }, &[], options, clock)
    }

    /// An operator with a role.
    pub fn issue_operator(
        &self,
        name: &Name,
        role: Role,
        options: &IssueOptions,
        clock: &dyn Clock,
    ) -> Result<Issued, CaError> {
        self.issue(Identity::Operator { name: name.clone(), role }, &[], options, clock)
    }

    /// Any identity, with a key made here.
    pub fn issue(
        &self,
        identity: Identity,
        addresses: &[String],
        options: &IssueOptions,
        clock: &dyn Clock,
    ) -> Result<Issued, CaError> {
        let key = KeyPair::generate()?;
        let certificate_pem = self.sign(&identity, addresses, options, clock, &key)?;
        Ok(Issued::new(identity, self.certificate_pem.clone(), certificate_pem, Some(key.serialize_pem())))
    }

    /// Any identity, for a key that never left its host: only the request's public key is used, whatever names the
    /// request asks for.
    pub fn issue_for_request(
        &self,
        request_pem: &str,
        identity: Identity,
        addresses: &[String],
        options: &IssueOptions,
        clock: &dyn Clock,
    ) -> Result<Issued, CaError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(|error| CaError::Request(error.to_string()))?;
        let certificate_pem = self.sign(&identity, addresses, options, clock, &request.public_key)?;
        Ok(Issued::new(identity, self.certificate_pem.clone(), certificate_pem, None))
    }

    fn sign(
        &self,
        identity: &Identity,
        addresses: &[String],
        options: &IssueOptions,
        clock: &dyn Clock,
        key: &impl PublicKeyData,
    ) -> Result<String, CaError> {
        let (not_before, not_after) = period(options.validity, clock)?;
        if not_after > self.not_after_unix_s {
            return Err(CaError::OutlivesAuthority {
                wanted: shown(not_after),
                authority: shown(self.not_after_unix_s),
            });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(identity.name().as_str(), identity.kind());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_period(&mut params, (not_before, not_after));
        params.extended_key_usages = match identity {
            Identity::Coordinator { .. } if addresses.is_empty() => return Err(CaError::NoAlternativeName),
            // A coordinator calls its peers too.
            Identity::Coordinator { .. } => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            // An agent's certificate must not pass for a coordinator's: no other usage.
            Identity::Agent { .. } | Identity::Operator { .. } => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.subject_alt_names = addresses.iter().map(|text| alternative(text)).collect::<Result<_, _>>()?;
        params
            .subject_alt_names
            .push(SanType::URI(Ia5String::try_from(identity.to_string()).expect("names and roles are plain ASCII")));
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

fn subject(common_name: &str, unit: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Baton");
    subject.push(DnType::OrganizationalUnitName, unit);
    subject.push(DnType::CommonName, common_name);
    subject
}

fn alternative(text: &str) -> Result<SanType, CaError> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let refuse = || CaError::AlternativeName(text.to_owned());
    // rustls's own rule for DNS names, because it is rustls that will verify against it.
    rustls_pki_types::DnsName::try_from(text).map_err(|_| refuse())?;
    Ok(SanType::DnsName(Ia5String::try_from(text).map_err(|_| refuse())?))
}

/// Begin and end in seconds since 1970.
fn period(validity: Duration, clock: &dyn Clock) -> Result<(i64, i64), CaError> {
    const SHORTEST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
    if validity < SHORTEST || validity > LONGEST {
        return Err(CaError::Validity(validity));
    }
    let now = (clock.now_unix_ms() / 1_000) as i64;
    Ok(((now - CLOCK_SKEW_MAX.as_secs() as i64).max(0), now + validity.as_secs() as i64))
}

/// Sets begin and end. rcgen's type for a moment comes from a crate that nothing else here needs, so it is reached by
/// adding to 1970.
fn set_period(params: &mut CertificateParams, (not_before, not_after): (i64, i64)) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(not_before.unsigned_abs());
    params.not_after = epoch + Duration::from_secs(not_after.unsigned_abs());
}

fn shown(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s).map_or_else(|_| format!("{unix_s} s after 1970"), |at| at.to_string())
}
