//! A real etcd and the store's applier under the same commands.

use std::{sync::Arc, time::Duration};

use revkeep_harness::{Etcd, EtcdOptions, EtcdVersion};
use revkeep_schemas::{
    etcd_api::etcdserverpb::{
        AuthRoleGetRequest, AuthRoleListRequest, AuthStatusRequest, AuthUserGetRequest,
        AuthUserListRequest, AuthenticateRequest, auth_client::AuthClient,
    },
    store_api::{AuthenticateWithToken, Proposal, proposal::Command},
};
use revkeep_store::{
    StoreError,
    apply::{Applier, ApplierOptions, Response, quota::Quota},
    auth::{AuthInfo, BcryptCost, token::Tokens},
    backend::{Backend, BackendOptions, MemoryDisk, Position},
    lease::LessorOptions,
    mvcc::MvccOptions,
    raft::{EntryBody, StateMachine as _},
    watch::WatchOptions,
};
use tempfile::TempDir;
use tonic::{Request, Status, transport::Channel};

/// What was said: an answer, or an error's code and text.
pub(crate) type Said<T> = Result<T, (tonic::Code, String)>;

pub(crate) fn etcd_said<T>(outcome: Result<tonic::Response<T>, Status>) -> Said<T> {
    outcome
        .map(tonic::Response::into_inner)
        .map_err(|status| (status.code(), status.message().to_owned()))
}

pub(crate) fn store_said<T>(outcome: Result<T, StoreError>) -> Said<T> {
    outcome.map_err(|error| (error.code(), error.message()))
}

/// The store's applier with a log of its own.
pub(crate) struct Member {
    pub(crate) applier: Applier,
    index: u64,
    _folder: TempDir,
}

impl Member {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let disk = Arc::new(MemoryDisk::new());
        let backend = Backend::open(disk, BackendOptions::default()).unwrap();
        let options = ApplierOptions {
            mvcc: MvccOptions::default(),
            snapshot_folder: folder.path().to_owned(),
            quota: Quota::new(0),
            tokens: Tokens::simple(),
            bcrypt_cost: BcryptCost::new(4),
            lessor: LessorOptions::new(Duration::from_secs(1)),
            watch: WatchOptions::default(),
        };
        Self {
            applier: Applier::open(Arc::new(backend), options).unwrap(),
            index: 0,
            _folder: folder,
        }
    }

    /// Goes on behind what a database file brought.
    pub(crate) fn resume(&mut self) {
        self.index = self.applier.position().index;
    }

    pub(crate) fn apply(
        &mut self,
        who: AuthInfo,
        command: Command,
    ) -> Result<Response, StoreError> {
        self.index += 1;
        let proposal = Proposal {
            id: self.index,
            user: who.user,
            auth_revision: who.revision,
            command: Some(command),
        };
        let body = EntryBody::Commands(std::slice::from_ref(&proposal));
        let outcomes = self.applier.apply(Position::new(1, self.index), body);
        outcomes.unwrap().pop().unwrap()
    }

    /// Logs a user in and recognises the token, as the server does.
    pub(crate) async fn login(&mut self, name: &str, password: &str) -> Said<AuthInfo> {
        let shared = self.applier.shared().clone();
        let checked = shared.auth.check_password(name, password.to_owned()).await;
        let revision = store_said(checked)?;
        let token = store_said(shared.auth.propose_token(name, revision))?;
        let user = name.to_owned();
        let command = Command::Authenticate(AuthenticateWithToken { user, token });
        let Response::Authenticate(response) =
            store_said(self.apply(AuthInfo::default(), command))?
        else {
            panic!("no token");
        };
        store_said(shared.auth.recognise(&response.token).await).map(Option::unwrap)
    }
}

/// Both.
pub(crate) struct Pair {
    pub(crate) etcd: Etcd,
    pub(crate) member: Member,
    pub(crate) client: AuthClient<Channel>,
    pub(crate) channel: Channel,
    /// Root's token of etcd, once authentication is on.
    pub(crate) token: Option<String>,
}

impl Pair {
    pub(crate) async fn start(version: &EtcdVersion) -> Self {
        let options = EtcdOptions::default().flag("--bcrypt-cost=4");
        let etcd = Etcd::start_with(version, options).await.unwrap();
        let channel = Channel::from_shared(etcd.endpoint())
            .unwrap()
            .connect()
            .await
            .unwrap();
        Self {
            member: Member::new(),
            client: AuthClient::new(channel.clone()),
            channel,
            etcd,
            token: None,
        }
    }

    /// A request as root, where that matters.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        with_token(message, self.token.as_deref())
    }

    /// Root, where that matters.
    pub(crate) fn root(&self) -> AuthInfo {
        self.member.applier.shared().auth.internal()
    }

    pub(crate) async fn login(&mut self, name: &str, password: &str) -> Said<String> {
        let request = AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let response = etcd_said(self.client.authenticate(request).await)?;
        Ok(response.token)
    }

    /// Compares all that can be seen of users and roles.
    pub(crate) async fn compare(&mut self) {
        let (root, shared) = (self.root(), self.member.applier.shared().clone());
        let request = self.request(AuthStatusRequest {});
        let status = self.client.auth_status(request).await.unwrap().into_inner();
        let own = shared.auth.status(&root).unwrap();
        assert_eq!(
            (own.enabled, own.auth_revision),
            (status.enabled, status.auth_revision)
        );
        let request = self.request(AuthUserListRequest {});
        let users = self.client.user_list(request).await.unwrap().into_inner();
        assert_eq!(shared.auth.user_list(&root).unwrap().users, users.users);
        for name in users.users {
            let request = self.request(AuthUserGetRequest { name: name.clone() });
            let user = self.client.user_get(request).await.unwrap().into_inner();
            assert_eq!(
                shared.auth.user_get(&root, &name).unwrap().roles,
                user.roles
            );
        }
        let request = self.request(AuthRoleListRequest {});
        let roles = self.client.role_list(request).await.unwrap().into_inner();
        assert_eq!(shared.auth.role_list(&root).unwrap().roles, roles.roles);
        for role in roles.roles {
            let request = self.request(AuthRoleGetRequest { role: role.clone() });
            let rights = self.client.role_get(request).await.unwrap().into_inner();
            assert_eq!(
                shared.auth.role_get(&root, &role).unwrap().perm,
                rights.perm
            );
        }
    }
}

pub(crate) fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let token = token.parse().unwrap();
        request.metadata_mut().insert("token", token);
    }
    request
}
