//! Random changes of users, roles and rights, given to both.

use std::time::Duration;

use bytes::Bytes;
use rand::{RngExt as _, rngs::StdRng};
use revkeep_schemas::{
    etcd_api::{
        authpb::{Permission, UserAddOptions},
        etcdserverpb::{
            AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest,
            AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
            AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
        },
    },
    store_api::proposal::Command,
};
use tokio::time::sleep;
use tonic::Code;

use crate::pair::{Pair, Said, etcd_said, store_said};

const USERS: [&str; 5] = ["root", "alice", "bob", "carol", ""];
const ROLES: [&str; 5] = ["root", "reader", "writer", "other", ""];
/// Each key has one end: of several rights with the same key etcd changes the first one only.
const RANGES: [(&[u8], &[u8]); 9] = [
    (b"a", b"c"),
    (b"b", b"d"),
    (b"c", b"f"),
    (b"d", b""),
    (b"f", b"f\0"),
    (b"m", &[0]),
    (&[0], &[0]),
    (b"z", b"y"),
    (b"", b"b"),
];

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[random.random_range(0..from.len())]
}

fn range(random: &mut StdRng) -> (Bytes, Bytes) {
    let (key, end) = RANGES[random.random_range(0..RANGES.len())];
    (Bytes::from_static(key), Bytes::from_static(end))
}

/// The password of every user who has one, so that anybody can log in.
pub(crate) fn password(user: &str) -> String {
    format!("{user}'s password")
}

/// A command with a plain password, as clients send it.
pub(crate) fn random(random: &mut StdRng) -> Command {
    let user = pick(random, &USERS).to_owned();
    let role = pick(random, &ROLES).to_owned();
    let (key, range_end) = range(random);
    match random.random_range(0..20) {
        0..4 => Command::AuthUserAdd(AuthUserAddRequest {
            password: match random.random_range(0..10) {
                0 => "x".repeat(73),
                _ => password(&user),
            },
            options: match random.random_range(0..4) {
                0 => None,
                1 => Some(UserAddOptions { no_password: true }),
                _ => Some(UserAddOptions { no_password: false }),
            },
            name: user,
            hashed_password: String::new(),
        }),
        4 => Command::AuthUserDelete(AuthUserDeleteRequest { name: user }),
        5 => Command::AuthUserChangePassword(AuthUserChangePasswordRequest {
            // A new password would end root's token.
            name: if user == "root" {
                String::new()
            } else {
                user.clone()
            },
            password: password(&user),
            hashed_password: String::new(),
        }),
        6..10 => Command::AuthUserGrantRole(AuthUserGrantRoleRequest { user, role }),
        10 => Command::AuthUserRevokeRole(AuthUserRevokeRoleRequest { name: user, role }),
        11..13 => Command::AuthRoleAdd(AuthRoleAddRequest { name: role }),
        13 => Command::AuthRoleDelete(AuthRoleDeleteRequest { role }),
        14..19 => Command::AuthRoleGrantPermission(AuthRoleGrantPermissionRequest {
            name: role,
            perm: (random.random_range(0..10) > 0).then(|| Permission {
                perm_type: random.random_range(0..3),
                key,
                range_end,
            }),
        }),
        _ => Command::AuthRoleRevokePermission(AuthRoleRevokePermissionRequest {
            role,
            key,
            range_end,
        }),
    }
}

impl Pair {
    /// Gives a command to both, and compares what they say.
    pub(crate) async fn command(&mut self, command: Command) {
        let store = self.ask_store(command.clone()).await;
        let mut etcd = self.ask_etcd(command.clone()).await;
        for _ in 0..10 {
            if !matches!(etcd, Err((Code::PermissionDenied, _))) {
                break;
            }
            // Seen on a loaded machine: soon after a change of its users etcd reads an old row of root, and denies root.
            // What was denied was not done, so it can be asked again.
            sleep(Duration::from_millis(100)).await;
            etcd = self.ask_etcd(command.clone()).await;
        }
        assert_eq!(store, etcd, "{command:?}");
    }

    async fn ask_store(&mut self, mut command: Command) -> Said<()> {
        let auth = self.member.applier.shared().auth.clone();
        let hashed = match &mut command {
            Command::AuthUserAdd(request) => auth.hash_new_user(request).await,
            Command::AuthUserChangePassword(request) => auth.hash_new_password(request).await,
            _ => Ok(()),
        };
        store_said(hashed)?;
        let root = self.root();
        store_said(self.member.apply(root, command)).map(drop)
    }

    async fn ask_etcd(&mut self, command: Command) -> Said<()> {
        macro_rules! send {
            ($($kind:ident => $function:ident),* $(,)?) => {
                match command {
                    $(Command::$kind(message) => {
                        let request = self.request(message);
                        etcd_said(self.client.$function(request).await).map(drop)
                    })*
                    other => panic!("no command of authentication: {other:?}"),
                }
            };
        }
        send! {
            AuthEnable => auth_enable,
            AuthDisable => auth_disable,
            AuthUserAdd => user_add,
            AuthUserDelete => user_delete,
            AuthUserChangePassword => user_change_password,
            AuthUserGrantRole => user_grant_role,
            AuthUserRevokeRole => user_revoke_role,
            AuthRoleAdd => role_add,
            AuthRoleDelete => role_delete,
            AuthRoleGrantPermission => role_grant_permission,
            AuthRoleRevokePermission => role_revoke_permission,
        }
    }
}
