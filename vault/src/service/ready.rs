//! Whether questions can be answered: one look for probes of every kind, which come without a token and as often as they like.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use revkeep_schemas::catalog_api::catalog_server::SERVICE_NAME;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::catalog::Catalog;

/// An answer counts for so long.
const COUNTS: Duration = Duration::from_secs(1);
/// A database that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ready when the catalog can be asked; the object store's outage takes nothing from that.
#[derive(Debug)]
pub(super) struct Ready {
    catalog: Catalog,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Ready {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            last: Mutex::default(),
        }
    }

    /// Whether it is, as of a second ago at most. Why it is not is in the log alone: callers may be anybody.
    pub(super) async fn now(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((at, ready)) = *last
            && at.elapsed() < COUNTS
        {
            return ready;
        }
        let ready = match timeout(PATIENCE, self.catalog.largest(1)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the catalog cannot be asked");
                false
            }
            Err(_) => {
                tracing::warn!(error = "no answer in time", "the catalog cannot be asked");
                false
            }
        };
        *last = Some((Instant::now(), ready));
        ready
    }
}

/// The same as gRPC's health service.
pub(super) struct HealthAnswers {
    pub(super) ready: Arc<Ready>,
    /// Ends those who watch.
    pub(super) stop: CancellationToken,
}

fn known(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
    match request.get_ref().service.as_str() {
        "" | SERVICE_NAME => Ok(()),
        _ => Err(Status::not_found("there is no such service")),
    }
}

fn answer(ready: bool) -> HealthCheckResponse {
    let status = if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for HealthAnswers {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        known(&request)?;
        Ok(Response::new(answer(self.ready.now().await)))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        known(&request)?;
        let ready = Arc::clone(&self.ready);
        let told = stream::unfold((ready, None), |(ready, told)| async move {
            loop {
                let now = ready.now().await;
                if told != Some(now) {
                    return Some((Ok(answer(now)), (ready, Some(now))));
                }
                sleep(COUNTS).await;
            }
        });
        let told = told.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(told.boxed()))
    }
}
