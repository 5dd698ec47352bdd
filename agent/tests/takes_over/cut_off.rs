//! The uploader is cut off from the object store, and the others are not.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use revkeep_harness::product::VaultPlace;
use revkeep_harness::{Gate, SeaweedFs, base_etcd};

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploader_that_is_cut_off_from_the_store_is_replaced() -> Result<()> {
    let (Some(version), Some(s3)) = (base_etcd(), SeaweedFs::start().await?) else {
        return Ok(());
    };
    let gate = Gate::before(s3.port()).await?;
    let mut world = World::new(&version).await?;
    world.vault = VaultPlace::bucket(&s3, "cut-off");
    let gated = VaultPlace {
        url: s3.url_by(gate.port(), "cut-off"),
        ..world.vault.clone()
    };
    // The first one comes alone, and uploads.
    world.start(0, &gated)?;
    let alone = world.put("alone", 20).await?;
    world.durable(alone).await?;
    ensure!(world.uploader().await? == 0);
    let vault = world.vault.clone();
    for number in [1, 2] {
        world.start(number, &vault)?;
        let one = world.agents.get_mut(&number).unwrap();
        one.agent.wait_for_log("this one follows").await?;
    }
    let settled = world.put("settled", 20).await?;
    world.durable(settled).await?;

    gate.close();
    let start = Instant::now();
    let cut = world.put("cut", 20).await?;
    world.durable(cut).await?;
    let took = start.elapsed();
    eprintln!("an uploader without a store was replaced after {took:?}");
    ensure!(took < Duration::from_secs(60), "{took:?}");
    gate.open();
    let back = world.put("back", 20).await?;
    world.durable(back).await?;
    ensure!(
        world.uploader().await? != 0,
        "the one that was cut off uploads again"
    );
    Box::pin(world.exact()).await
}
