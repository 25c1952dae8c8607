//! What a caller is told when its certificate does not do.

use baton_platform::identity::{self, PeerError};
use tonic::{Code, Status};

#[test]
fn a_request_over_a_connection_without_certificates_is_unauthenticated_with_a_remedy() {
    let error = identity::of_request(&tonic::Request::new(())).unwrap_err();
    assert_eq!((&error, error.code()), (&PeerError::NoCertificate, "BTN-0301"));
    let status = Status::from(error);
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(
        status.message(),
        "BTN-0301 no client certificate came with this connection. Set one up: \"baton ca issue\" makes it, ca.pem, \
         cert.pem and key.pem belong in the identity directory."
    );
    assert_eq!(identity::of_extensions(&http::Extensions::new()), Err(PeerError::NoCertificate));
}

#[test]
fn each_kind_is_refused_where_another_is_wanted() {
    let wrong =
        PeerError::WrongKind { seen: "baton://agent/db1".parse().unwrap(), wanted: "an operator", verb: "operator" };
    assert_eq!(wrong.code(), "BTN-0302");
    let status = Status::from(wrong);
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "BTN-0302 this call is for an operator, and the client certificate says baton://agent/db1. \
         Call with the certificate of an operator, made by \"baton ca issue operator\"."
    );
}

#[test]
fn a_certificate_that_names_nobody_is_refused_with_the_reason() {
    let params = rcgen::CertificateParams::new(vec!["db1".to_owned()]).unwrap();
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let reason = identity::of_certificate(certificate.der()).unwrap_err();
    let status = Status::from(PeerError::Unusable { reason });
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "BTN-0302 the client certificate is of no use here: the certificate of `CN=rcgen self signed cert` has no \
         baton:// name. Ask for one that \"baton ca issue\" made."
    );
}
