//! Requests that are wrong in themselves.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "kv::refusals",
        [
            a_range_without_a_key,
            a_put_without_a_key,
            a_deletion_without_a_key,
            a_request_that_is_too_large,
            a_transaction_that_is_too_large,
            the_largest_request,
            a_message_that_is_too_large,
        ]
    )
}

const NO_KEY: &str = "etcdserver: key is not provided";
const TOO_LARGE: &str = "etcdserver: request is too large";

async fn a_range_without_a_key(case: &mut Case) -> Result<()> {
    refused(case.range(get("")).await, Code::InvalidArgument, NO_KEY)?;
    let ask = get("").range("z");
    refused(case.range(ask).await, Code::InvalidArgument, NO_KEY)
}

async fn a_put_without_a_key(case: &mut Case) -> Result<()> {
    refused(case.put(put("", "v")).await, Code::InvalidArgument, NO_KEY)?;
    case.made(0).await
}

async fn a_deletion_without_a_key(case: &mut Case) -> Result<()> {
    let ask = delete("").range(b"\0");
    refused(case.delete_range(ask).await, Code::InvalidArgument, NO_KEY)
}

/// etcd's default for `--max-request-bytes`.
const MAX_REQUEST_BYTES: usize = 3 << 19;

async fn a_request_that_is_too_large(case: &mut Case) -> Result<()> {
    let ask = put("k", vec![0; MAX_REQUEST_BYTES]);
    refused(case.put(ask).await, Code::InvalidArgument, TOO_LARGE)?;
    case.made(0).await
}

async fn a_transaction_that_is_too_large(case: &mut Case) -> Result<()> {
    let half = vec![0; MAX_REQUEST_BYTES / 2];
    let ask = txn([put("a", &half).op(), put("b", &half).op()]);
    refused(case.txn(ask).await, Code::InvalidArgument, TOO_LARGE)
}

async fn the_largest_request(case: &mut Case) -> Result<()> {
    // The rest is for the key and what etcd itself adds before it compares.
    case.put(put("k", vec![0; MAX_REQUEST_BYTES - 100])).await?;
    case.made(1).await
}

async fn a_message_that_is_too_large(case: &mut Case) -> Result<()> {
    // etcd's gRPC layer takes its limit of a request and 512 KiB.
    let limit = MAX_REQUEST_BYTES + (512 << 10);
    let outcome = case.put(put("k", vec![0; limit + 10])).await;
    let status = outcome.err().context("it was accepted")?;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    Ok(())
}
