//! Rights on three members.

use super::setup::*;
use crate::suite::*;
use authpb::permission::Type;

pub(crate) fn group() -> Group {
    group!(
        "auth::three",
        [a_token_is_known_everywhere, a_change_is_seen_everywhere]
    )
    .members(3)
    .alone()
}

async fn a_token_is_known_everywhere(case: &mut Case) -> Result<()> {
    enable(case).await?;
    for member in 0..3 {
        let root = login(&case.at(member).await?, "root").await?;
        for other in 0..3 {
            let there = root.at(other).await?;
            if !case.version.is_store() {
                // etcd may know it only once it is up to date.
                there.range(get("k")).await?;
            }
            there.put(put("k", "")).await?;
        }
    }
    Ok(())
}

async fn a_change_is_seen_everywhere(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    let readers = [alice.at(1).await?, alice.at(2).await?];
    for number in 0..30 {
        let key = format!("k{number}");
        allow(&root, "some", Type::Read, &key, b"").await?;
        // Neither by old rights nor for having come under old ones is it refused, wherever it is asked.
        for reader in &readers {
            reader.range(get(&key)).await.context(key.clone())?;
            reader
                .txn(txn([get(&key).op()]))
                .await
                .context(key.clone())?;
        }
        root.role_revoke_permission(AuthRoleRevokePermissionRequest {
            role: "some".into(),
            key: bytes(&key),
            range_end: bytes(""),
        })
        .await?;
        for reader in &readers {
            refused(
                reader.range(get(&key)).await,
                Code::PermissionDenied,
                DENIED,
            )?;
        }
    }
    Ok(())
}
