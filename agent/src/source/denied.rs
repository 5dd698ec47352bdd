//! What etcd refuses because of who asks, and what to grant.

use etcd_client::Error;
use tonic::{Code, Status};

use super::access::User;
use crate::AgentError;

/// What etcd says to a name or a password that is wrong, to a token that is not valid, and to a request without a user
/// (etcd, `api/v3rpc/rpctypes/error.go`).
const WRONG_LOGIN: &str = "authentication failed, invalid user ID or password";
const WRONG_TOKEN: &str = "invalid auth token";
const NO_USER: &str = "user name is empty";
const AUTH_IS_OFF: &str = "authentication is not enabled";
const NOT_A_USER: &str = "user not found";
const DENIED: &str = "permission denied";

/// The error of a request that was refused because of who asked; `None` for any other.
pub(super) fn judge(
    endpoint: &str,
    operation: &'static str,
    user: Option<&User>,
    error: &Error,
) -> Option<AgentError> {
    let Error::GRpcStatus(status) = error else {
        return None;
    };
    let advice = advice(operation, user, status)?;
    Some(AgentError::Denied {
        endpoint: endpoint.to_owned(),
        operation,
        reason: status.message().to_owned(),
        advice,
    })
}

/// The same for a watch, which is refused by the reason of its end.
pub(super) fn of_watch(endpoint: &str, reason: &str) -> Option<AgentError> {
    let status = Status::unknown(reason);
    let advice = advice("watch", None, &status)?;
    Some(AgentError::Denied {
        endpoint: endpoint.to_owned(),
        operation: "watch",
        reason: reason.to_owned(),
        advice,
    })
}

/// Whether it was the name, the password or the token, and not what was asked for.
pub(super) fn is_login(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status)
        if status.message().contains(WRONG_LOGIN) || status.message().contains(WRONG_TOKEN))
}

/// What to do about it.
fn advice(operation: &str, user: Option<&User>, status: &Status) -> Option<String> {
    let said = status.message();
    // Without a user, etcd with --client-cert-auth takes the common name of the client's certificate for one.
    let name = user.map_or("USER", |user| user.name.as_str());
    if said.contains(WRONG_LOGIN) {
        return Some(format!("check the name and the password of {name}"));
    }
    if said.contains(NO_USER) {
        return Some(
            "the cluster wants to know who asks: give --user and --password-file".to_owned(),
        );
    }
    if said.contains(NOT_A_USER) {
        return Some(
            "there is no such user: give --user, or add one with the common name of --cert"
                .to_owned(),
        );
    }
    if said.contains(AUTH_IS_OFF) {
        return Some(
            "the cluster has no users: leave out --user, or enable authentication".to_owned(),
        );
    }
    if said.contains(WRONG_TOKEN) {
        // It has expired, or the user was changed: the next login gets another one.
        return None;
    }
    if status.code() == Code::PermissionDenied || said.contains(DENIED) {
        return Some(match operation {
            "range" | "watch" | "lease time to live" => format!(
                "grant {name} to read all keys: etcdctl role grant-permission ROLE read '' --from-key, \
                 etcdctl user grant-role {name} ROLE"
            ),
            _ => format!(
                "grant {name} the role root, which etcd asks for: etcdctl user grant-role {name} root"
            ),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_says_what_to_grant() {
        let judged = |operation, status| {
            let judged = judge("e:1", operation, None, &Error::GRpcStatus(status));
            judged.map(|error| error.to_string())
        };
        let denied = Status::permission_denied("etcdserver: permission denied");
        let text = judged("range", denied.clone()).unwrap();
        assert!(
            text.contains("read all keys") && text.contains("e:1"),
            "{text}"
        );
        let text = judged("snapshot", denied).unwrap();
        assert!(text.contains("the role root"), "{text}");
        let wrong = Status::invalid_argument(
            "etcdserver: authentication failed, invalid user ID or password",
        );
        assert!(judged("login", wrong).unwrap().contains("password"));
        assert_eq!(judged("range", Status::unavailable("no leader")), None);
    }
}
