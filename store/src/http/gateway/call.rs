//! One call through the gateway.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use revkeep_schemas::etcd_api::FILE_DESCRIPTOR_SET;
use tonic::client::{Grpc, GrpcService};
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use super::answer::{call_error, error_line, http_status, json, result_line};
use super::codec::Encoded;
use super::messages::{Values, decode, encode};
use super::routes::ROUTES;
use crate::error::{Result, StoreError};

/// Headers whose name begins so become gRPC metadata without it.
const METADATA_PREFIX: &str = "grpc-metadata-";

/// What a path stands for.
#[derive(Debug)]
struct Call {
    path: PathAndQuery,
    method: MethodDescriptor,
}

/// The JSON side of the API: finds the method of a path and calls it in `services`.
#[derive(Clone, Debug)]
pub struct Gateway<S> {
    services: S,
    calls: Arc<HashMap<&'static str, Call>>,
    max_request_bytes: usize,
}

impl<S> Gateway<S>
where
    S: GrpcService<tonic::body::Body> + Clone + Send + 'static,
    S::Future: Send,
    S::ResponseBody: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError>,
{
    /// A gateway to `services`. Each JSON message may have `max_request_bytes`.
    ///
    /// # Errors
    /// If the API's descriptors lack a method that has a path: the build is broken.
    pub fn new(services: S, max_request_bytes: usize) -> Result<Self> {
        let broken =
            |error: String| StoreError::internal(format!("the API's descriptors: {error}"));
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .map_err(|error| broken(error.to_string()))?;
        let methods: HashMap<String, MethodDescriptor> = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| (method.full_name().to_owned(), method))
            .collect();
        let mut calls = HashMap::new();
        for &(route, name) in ROUTES {
            let method = methods
                .get(name)
                .ok_or_else(|| broken(format!("no method {name}")))?;
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let path = path
                .parse()
                .map_err(|_| broken(format!("no path can be {path}")))?;
            let method = method.clone();
            calls.insert(route, Call { path, method });
        }
        Ok(Self {
            services,
            calls: Arc::new(calls),
            max_request_bytes,
        })
    }

    /// Answers one request whose path begins with `/v3/` (or the older `/v3beta/`).
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        let older = path
            .strip_prefix("/v3beta/")
            .map(|rest| format!("/v3/{rest}"));
        let Some(call) = self.calls.get(older.as_deref().unwrap_or(path)) else {
            return plain(StatusCode::NOT_FOUND, "Not Found\n");
        };
        if request.method() != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        }
        let metadata = metadata(request.headers());
        let messages = Messages {
            body: request.into_body().into_data_stream(),
            values: Values::default(),
            kind: call.method.input(),
            limit: self.max_request_bytes,
        };
        if call.method.is_server_streaming() {
            self.stream(call, metadata, messages).await
        } else {
            match self.unary(call, metadata, messages).await {
                Ok(body) => json(StatusCode::OK, body),
                Err(status) => call_error(&status),
            }
        }
    }

    async fn unary(
        &self,
        call: &Call,
        metadata: MetadataMap,
        mut messages: Messages,
    ) -> Result<Vec<u8>, Status> {
        // No body stands for a message without fields.
        let message = match messages.next().await {
            Some(message) => message.map_err(Status::invalid_argument)?,
            None => Bytes::new(),
        };
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = metadata;
        let answer = self
            .client()
            .unary(request, call.path.clone(), Encoded)
            .await?;
        decode(&call.method.output(), answer.into_inner()).map_err(Status::internal)
    }

    async fn stream(
        &self,
        call: &Call,
        metadata: MetadataMap,
        mut messages: Messages,
    ) -> Response<Body> {
        // The first message decides whether there is a call at all; the others follow while it runs.
        let first = match messages.next().await {
            Some(Ok(message)) => Some(message),
            None if call.method.is_client_streaming() => None,
            None => Some(Bytes::new()),
            Some(Err(error)) => return call_error(&Status::unknown(error)),
        };
        let rest: Pin<Box<dyn Stream<Item = Bytes> + Send>> = if call.method.is_client_streaming() {
            Box::pin(stream::unfold(messages, async |mut messages| {
                let message = messages.next().await?.ok()?;
                Some((message, messages))
            }))
        } else {
            Box::pin(stream::empty())
        };
        let mut request = tonic::Request::new(stream::iter(first).chain(rest));
        *request.metadata_mut() = metadata;
        let answer = self
            .client()
            .streaming(request, call.path.clone(), Encoded)
            .await;
        let mut answers = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => return json(http_status(status.code()), error_line(&status)),
        };
        let kind = call.method.output();
        match answers.message().await {
            Ok(None) => json(StatusCode::OK, Body::empty()),
            Err(status) => json(http_status(status.code()), error_line(&status)),
            Ok(Some(first)) => json(StatusCode::OK, lines(kind, first, answers)),
        }
    }

    fn client(&self) -> Grpc<S> {
        Grpc::new(self.services.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }
}

/// The answers of a stream, one a line, until it ends or fails.
fn lines(kind: MessageDescriptor, first: Bytes, answers: Streaming<Bytes>) -> Body {
    let answers = stream::iter([Ok(first)]).chain(answers);
    Body::from_stream(answers.map(move |answer| {
        let message = answer.and_then(|message| decode(&kind, message).map_err(Status::internal));
        Ok::<_, Status>(match message {
            Ok(message) => result_line(&message),
            Err(status) => error_line(&status),
        })
    }))
}

/// The messages in a request's body, as they arrive.
struct Messages {
    body: BodyDataStream,
    values: Values,
    kind: MessageDescriptor,
    limit: usize,
}

impl Messages {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.values.next() {
                Ok(Some(value)) => return Some(encode(&self.kind, value)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
            if self.values.pending() > self.limit {
                return Some(Err(StoreError::RequestTooLarge.message()));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.values.extend(&bytes),
                Some(Err(error)) => return Some(Err(error.to_string())),
                None if self.values.pending() == 0 => return None,
                None => return Some(Err("unexpected EOF".to_owned())),
            }
        }
    }
}

/// The token, and what the client wants to pass on, `Grpc-Metadata-hasleader` say.
fn metadata(headers: &HeaderMap) -> MetadataMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        let name = if name == header::AUTHORIZATION {
            Some(header::AUTHORIZATION)
        } else {
            name.as_str()
                .strip_prefix(METADATA_PREFIX)
                .and_then(|name| name.parse().ok())
        };
        if let Some(name) = name {
            passed.append(name, value.clone());
        }
    }
    MetadataMap::from_headers(passed)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
