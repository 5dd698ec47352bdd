//! Somebody who changes the members and the leader while all the rest goes on.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_schemas::etcd_api::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MoveLeaderRequest, StatusRequest, cluster_client::ClusterClient,
    maintenance_client::MaintenanceClient,
};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::world::StoreWorld;

const PATIENCE: Duration = Duration::from_secs(8);

/// Moves the leader, adds, promotes and removes the member on the spare place.
pub async fn administrate(world: Arc<StoreWorld>) {
    let mut random = StdRng::seed_from_u64(world.seed_of("administrator"));
    while !world.base.is_quiet() {
        let pause = random.random_range(200..3_000);
        sleep(Duration::from_millis(pause)).await;
        let member = format!("m{}", random.random_range(0..world.founders));
        let moves = random.random_bool(0.4);
        let change = async {
            if moves {
                move_leader(&world, &member, &mut random).await
            } else {
                change_members(&world, &member, &mut random).await
            }
        };
        if let Ok(Ok(true)) = timeout(PATIENCE, change).await {
            world.record().changes += 1;
        }
    }
}

async fn members(world: &StoreWorld, member: &str) -> Result<Vec<Member>, Status> {
    let mut cluster = ClusterClient::new(world.channel(member));
    let request = MemberListRequest { linearizable: true };
    let answer = cluster.member_list(request).await?;
    Ok(answer.into_inner().members)
}

async fn change_members(
    world: &StoreWorld,
    member: &str,
    random: &mut StdRng,
) -> Result<bool, Status> {
    let seat = &world.base.seats[world.spare().index];
    let listed = members(world, member).await?;
    let known = listed
        .iter()
        .find(|listed| listed.peer_ur_ls.contains(&seat.peer_url));
    let mut cluster = ClusterClient::new(world.channel(member));
    match known {
        None => {
            world.renew_spare();
            let request = MemberAddRequest {
                peer_ur_ls: vec![seat.peer_url.clone()],
                is_learner: random.random_bool(0.5),
            };
            cluster.member_add(request).await?;
        }
        Some(known) if known.is_learner && random.random_bool(0.8) => {
            let request = MemberPromoteRequest { id: known.id };
            cluster.member_promote(request).await?;
        }
        Some(known) if random.random_bool(0.5) => {
            let request = MemberRemoveRequest { id: known.id };
            cluster.member_remove(request).await?;
        }
        Some(_) => return Ok(false),
    }
    Ok(true)
}

async fn move_leader(
    world: &StoreWorld,
    member: &str,
    random: &mut StdRng,
) -> Result<bool, Status> {
    let mut maintenance = MaintenanceClient::new(world.channel(member));
    let status = maintenance.status(StatusRequest {}).await?.into_inner();
    let listed = members(world, member).await?;
    let leader = listed.iter().find(|listed| listed.id == status.leader);
    let Some(leader) = leader.filter(|leader| !leader.name.is_empty()) else {
        return Ok(false);
    };
    let target = &world.base.seats[random.random_range(0..world.founders)];
    let target = listed.iter().find(|listed| listed.name == target.name);
    let Some(target) = target else {
        return Ok(false);
    };
    let mut maintenance = MaintenanceClient::new(world.channel(&leader.name));
    let request = MoveLeaderRequest {
        target_id: target.id,
    };
    maintenance.move_leader(request).await?;
    Ok(true)
}
