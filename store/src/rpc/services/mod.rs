//! The services as tonic wants them: each unwraps the request, asks the engine, and wraps the answer.

mod auth;
mod cluster;
mod election;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod watch;

pub(super) use auth::AuthService;
pub(super) use cluster::ClusterService;
pub(super) use election::ElectionService;
pub(super) use kv::KvService;
pub(super) use lease::LeaseService;
pub(super) use lock::LockService;
pub(super) use maintenance::MaintenanceService;
pub(super) use watch::WatchService;

/// Implements unary methods of a service: who asks, then the engine's function of the same kind. Written out as
/// `async_trait` writes it, which does not look inside of macros.
macro_rules! unary {
    ($($name:ident($request:ty) -> $response:ty = |$engine:ident, $caller:ident, $message:ident| $body:expr;)*) => {
        $(fn $name<'life0, 'async_trait>(
            &'life0 self,
            request: Request<$request>,
        ) -> std::pin::Pin<
            Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'async_trait>,
        >
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                let $engine = &*self.engine;
                let $caller = $engine.caller(&request).await?;
                let $message = request.into_inner();
                let response: crate::error::Result<$response> = $body;
                Ok(Response::new(response?))
            })
        })*
    };
}
use unary;
