//! A request's method and path become a status and a small document. No bytes of HTTP here.
//!
//! Apart so that what is answered is read in one place, and tried without a network. A path is compared, never decoded and never
//! joined to anything, so that nothing can climb out of it.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Standing, Standings};

/// Longer names than DNS has are nobody's.
const NAME_MAX: usize = 253;

/// A status, and a document where one belongs to it.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub document: Value,
}

#[derive(Debug, PartialEq, Eq)]
enum Question<'a> {
    Health,
    Role { role: Role, group: &'a str, host: Option<&'a str> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    Standby,
}

pub(crate) async fn answer(standings: &dyn Standings, method: &Method, path: &str) -> Answer {
    let Some(question) = question(path) else {
        return refusal(StatusCode::NOT_FOUND, "there is no such page");
    };
    if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS are answered");
    }
    match question {
        Question::Health => match standings.healthy().await {
            Ok(()) => Answer { status: StatusCode::OK, document: json!({ "healthy": true }) },
            Err(why) => Answer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                document: json!({ "healthy": false, "why_not": why }),
            },
        },
        Question::Role { role, group, host } => match standings.of(group, host).await {
            Some(standing) => of_role(role, standing),
            None => refusal(StatusCode::NOT_FOUND, "no such group is known here, or no such host of it"),
        },
    }
}

fn question(path: &str) -> Option<Question<'_>> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let question = match parts.next()? {
        "health" => Question::Health,
        "groups" => {
            let group = parts.next().filter(|group| is_name(group))?;
            let role = match parts.next()? {
                "primary" => Role::Primary,
                "standby" => Role::Standby,
                _ => return None,
            };
            let host = match parts.next() {
                None => None,
                Some(host) if is_name(host) => Some(host),
                Some(_) => return None,
            };
            Question::Role { role, group, host }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(question)
}

/// As groups and hosts are called.
fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn of_role(role: Role, mut standing: Standing) -> Answer {
    let holds = match role {
        Role::Primary => standing.primary,
        Role::Standby => !standing.primary && standing.member.is_some(),
    };
    standing.why_not = match (holds, role, standing.primary) {
        (true, _, _) => None,
        (false, Role::Standby, true) => Some("it is primary".to_owned()),
        (false, Role::Standby, false) => Some("it is of no member".to_owned()),
        (false, Role::Primary, _) => standing.why_not.or_else(|| Some("it is not primary".to_owned())),
    };
    let status = if holds { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer { status, document: serde_json::to_value(standing).expect("strings and numbers become JSON") }
}

pub(crate) fn refusal(status: StatusCode, why: &str) -> Answer {
    Answer { status, document: json!({ "error": why }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_and_never_decoded() {
        let role = |role, group, host| Some(Question::Role { role, group, host });
        assert_eq!(question("/health"), Some(Question::Health));
        assert_eq!(question("/groups/dm/primary"), role(Role::Primary, "dm", None));
        assert_eq!(
            question("/groups/dm-1/standby/db1.example.org"),
            role(Role::Standby, "dm-1", Some("db1.example.org"))
        );
        let strangers = [
            "",
            "/",
            "*",
            "health",
            "/health/",
            "/health/x",
            "/groups",
            "/groups/",
            "/groups/dm",
            "/groups/dm/",
            "/groups//primary",
            "/groups/dm/primary/",
            "/groups/dm/primary/h/x",
            "/groups/dm/master",
            "/groups/../primary",
            "/groups/%2e%2e/primary",
            "/groups/dm/primary/..",
            "/groups/d%6d/primary",
            "/Health",
            "//health",
        ];
        for path in strangers {
            assert_eq!(question(path), None, "{path}");
        }
        assert_eq!(question(&format!("/groups/{}/primary", "x".repeat(NAME_MAX + 1))), None);
    }
}
