//! How the cases are run, and what they are written with.

mod ask;
mod calls;
mod case;
mod expect;
mod group;
mod keys;
mod plain_http;
mod report;
mod run;
mod server;
mod stream;

pub(crate) use ask::*;
pub(crate) use case::Case;
pub(crate) use expect::*;
pub(crate) use group::{Body, Group, group};
pub(crate) use keys::{Keys, SECRET};
pub(crate) use plain_http::{Answer, http, http_at, http_lines, https};
pub(crate) use run::run;
pub(crate) use server::Server;
pub(crate) use stream::WatchStream;

pub(crate) use anyhow::{Context, Result, bail, ensure};
pub(crate) use revkeep_schemas::etcd_api::etcdserverpb::*;
pub(crate) use revkeep_schemas::etcd_api::{authpb, mvccpb};
pub(crate) use std::time::Duration;
pub(crate) use tonic::Code;
