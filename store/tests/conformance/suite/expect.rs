//! What is expected of a refusal.

use anyhow::{Result, bail, ensure};
use std::fmt::Debug;
use tonic::{Code, Status};

/// Checks that a call was refused with this code and this text.
pub(crate) fn refused<T: Debug>(outcome: Result<T, Status>, code: Code, text: &str) -> Result<()> {
    match outcome {
        Ok(answer) => bail!("expected {code:?} {text:?}, but it was accepted: {answer:?}"),
        Err(status) => {
            let got = (status.code(), status.message());
            ensure!(
                got == (code, text),
                "expected {:?}, got {got:?}",
                (code, text)
            );
            Ok(())
        }
    }
}

/// The same for etcd-client.
pub(crate) fn refused_client<T: Debug>(
    outcome: Result<T, etcd_client::Error>,
    code: Code,
    text: &str,
) -> Result<()> {
    match outcome {
        Err(etcd_client::Error::GRpcStatus(status)) => refused(Err::<T, _>(status), code, text),
        other => bail!("expected {code:?} {text:?}, got {other:?}"),
    }
}
