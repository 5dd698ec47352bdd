//! One suite, every server: each case states the exact answer of etcd's v3 API and is asked of real etcd 3.5 (the oldest and
//! the newest release that is installed) and of the store.
//!
//! `cargo test -p revkeep-store --test conformance -- store::watch` runs the cases whose names contain a text; a name is
//! `server::group::case`. `--list`, `--exact`, `--skip TEXT` and `--test-threads N` mean what they mean to other tests.

#![expect(
    clippy::indexing_slicing,
    clippy::wildcard_imports,
    reason = "a case may panic: that is its failure; and what cases are written with is one vocabulary"
)]

mod auth;
mod clients;
mod cluster;
mod compaction;
mod concurrency;
mod http;
mod kv;
mod lease;
mod maintenance;
mod service;
mod suite;
mod tls;
mod txn;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let groups = [
        kv::groups(),
        txn::groups(),
        compaction::groups(),
        watch::groups(),
        lease::groups(),
        maintenance::groups(),
        cluster::groups(),
        auth::groups(),
        concurrency::groups(),
        service::groups(),
        http::groups(),
        clients::groups(),
        tls::groups(),
    ];
    suite::run(&groups.concat())
}
