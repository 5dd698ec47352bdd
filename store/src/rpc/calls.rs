//! How often each method was called, and with what outcome.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use revkeep_schemas::etcd_api::FILE_DESCRIPTOR_SET;
use tonic::Code;

use crate::error::{Result, StoreError};

/// gRPC's codes, by number, as go-grpc-prometheus spells them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// What kind of call a method is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// One request, one answer.
    Unary,
    /// One request, many answers.
    ServerStream,
    /// Many requests, one answer.
    ClientStream,
    /// Many of both.
    BidiStream,
}

impl MethodKind {
    fn of(method: &MethodDescriptor) -> Self {
        match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => Self::Unary,
            (false, true) => Self::ServerStream,
            (true, false) => Self::ClientStream,
            (true, true) => Self::BidiStream,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::ClientStream => "client_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// The counters of one method.
#[derive(Debug)]
pub(super) struct Method {
    service: String,
    name: String,
    kind: MethodKind,
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
    received: AtomicU64,
    sent: AtomicU64,
}

impl Method {
    /// What kind of call it is.
    pub(super) fn kind(&self) -> MethodKind {
        self.kind
    }

    /// A call has begun.
    pub(super) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
        if self.kind == MethodKind::Unary {
            self.received.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A message of a stream has gone out, or came to be read.
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is over.
    pub(super) fn end(&self, code: Code) {
        let code = i32::from(code);
        let counter = usize::try_from(code)
            .ok()
            .and_then(|code| self.handled.get(code));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if self.kind == MethodKind::Unary && code == 0 {
            self.sent();
        }
    }

    fn labels(&self) -> [(&'static str, &str); 3] {
        [
            ("grpc_method", &self.name),
            ("grpc_service", &self.service),
            ("grpc_type", self.kind.label()),
        ]
    }
}

/// The counters of all methods, under the names of go-grpc-prometheus, which etcd uses.
#[derive(Clone, Debug)]
pub struct Calls {
    methods: Arc<HashMap<String, Arc<Method>>>,
}

impl Calls {
    /// Counters for every method of the API, all zero.
    ///
    /// # Errors
    /// If the API's descriptors cannot be read: the build is broken.
    pub fn new() -> Result<Self> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .map_err(|error| StoreError::internal_from("the API's descriptors", error))?;
        let mut methods = HashMap::new();
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let kind = MethodKind::of(&method);
                methods.insert(path, new(service.full_name(), method.name(), kind));
            }
        }
        let health = "grpc.health.v1.Health";
        for (name, kind) in [
            ("Check", MethodKind::Unary),
            ("Watch", MethodKind::ServerStream),
        ] {
            methods.insert(format!("/{health}/{name}"), new(health, name, kind));
        }
        Ok(Self {
            methods: Arc::new(methods),
        })
    }

    /// The counters of the method that a path names.
    pub(super) fn of(&self, path: &str) -> Option<&Arc<Method>> {
        self.methods.get(path)
    }

    fn sorted(&self) -> Vec<&Method> {
        let mut methods: Vec<&Method> = self.methods.values().map(|method| &**method).collect();
        methods.sort_by_key(|method| (&method.service, &method.name));
        methods
    }
}

fn new(service: &str, name: &str, kind: MethodKind) -> Arc<Method> {
    Arc::new(Method {
        service: service.to_owned(),
        name: name.to_owned(),
        kind,
        started: AtomicU64::new(0),
        handled: std::array::from_fn(|_| AtomicU64::new(0)),
        received: AtomicU64::new(0),
        sent: AtomicU64::new(0),
    })
}

type Read = fn(&Method) -> &AtomicU64;

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let methods = self.sorted();
        let plain: [(&str, &str, Read); 3] = [
            (
                "grpc_server_started",
                "RPCs started on the server",
                |method| &method.started,
            ),
            (
                "grpc_server_msg_received",
                "Messages received on the server",
                |method| &method.received,
            ),
            (
                "grpc_server_msg_sent",
                "Messages sent by the server",
                |method| &method.sent,
            ),
        ];
        for (name, help, read) in plain {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for method in &methods {
                let counter = ConstCounter::new(read(method).load(Ordering::Relaxed));
                counter.encode(family.encode_family(&method.labels())?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "grpc_server_handled",
            "RPCs completed on the server, whatever the outcome",
            None,
            MetricType::Counter,
        )?;
        for method in &methods {
            for (code, handled) in CODES.iter().zip(&method.handled) {
                let [name, service, kind] = method.labels();
                let labels = [("grpc_code", *code), name, service, kind];
                let counter = ConstCounter::new(handled.load(Ordering::Relaxed));
                counter.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_call_is_counted_under_its_names_and_code() {
        let calls = Calls::new().unwrap();
        let put = calls.of("/etcdserverpb.KV/Put").unwrap();
        put.start();
        put.end(Code::ResourceExhausted);
        let watch = calls.of("/etcdserverpb.Watch/Watch").unwrap();
        assert_eq!(watch.kind(), MethodKind::BidiStream);

        let mut registry = Registry::default();
        registry.register_collector(Box::new(calls));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
            r#"grpc_server_handled_total{grpc_code="ResourceExhausted",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
            r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
