//! A member alone.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "cluster::alone",
        [
            the_list,
            the_list_of_a_quorum,
            ids_are_those_of_the_peer_urls,
            adding_nothing,
            adding_what_is_no_url,
            adding_one_that_is_there,
            removing_an_unknown_one,
            updating_an_unknown_one,
            promoting_an_unknown_one,
            promoting_a_voter,
        ]
    )
}

fn expected(case: &Case) -> Result<MemberListResponse> {
    let member = Member {
        id: case.member_id(),
        name: "default".into(),
        peer_ur_ls: vec![case.members[0].peer_url()],
        client_ur_ls: vec![case.endpoint()?],
        is_learner: false,
    };
    // etcd tells no revision here.
    let header = case.header(-case.start);
    Ok(MemberListResponse {
        header,
        members: vec![member],
    })
}

async fn the_list(case: &mut Case) -> Result<()> {
    let ask = MemberListRequest {
        linearizable: false,
    };
    assert_eq!(case.member_list(ask).await?, expected(case)?);
    Ok(())
}

async fn the_list_of_a_quorum(case: &mut Case) -> Result<()> {
    let ask = MemberListRequest { linearizable: true };
    assert_eq!(case.member_list(ask).await?, expected(case)?);
    Ok(())
}

async fn ids_are_those_of_the_peer_urls(case: &mut Case) -> Result<()> {
    let urls = [case.members[0].peer_url()];
    let id = revkeep_schemas::member::ids::member_id(&urls, "etcd-cluster");
    assert_eq!(case.member_id(), id);
    let cluster = revkeep_schemas::member::ids::cluster_id(&[id]);
    assert_eq!(case.cluster_id(), cluster);
    Ok(())
}

fn add(urls: &[&str]) -> MemberAddRequest {
    MemberAddRequest {
        peer_ur_ls: urls.iter().map(ToString::to_string).collect(),
        is_learner: false,
    }
}

const BAD_URLS: &str = "etcdserver: given member URLs are invalid";

async fn adding_nothing(case: &mut Case) -> Result<()> {
    refused(
        case.member_add(add(&[])).await,
        Code::InvalidArgument,
        BAD_URLS,
    )
}

async fn adding_what_is_no_url(case: &mut Case) -> Result<()> {
    for urls in [
        "127.0.0.1:2380",
        "http://127.0.0.1",
        "ftp://127.0.0.1:1",
        "http://127.0.0.1:1/x",
        "",
    ] {
        refused(
            case.member_add(add(&[urls])).await,
            Code::InvalidArgument,
            BAD_URLS,
        )
        .context(urls)?;
    }
    Ok(())
}

async fn adding_one_that_is_there(case: &mut Case) -> Result<()> {
    let url = case.members[0].peer_url();
    refused(
        case.member_add(add(&[&url])).await,
        Code::FailedPrecondition,
        "etcdserver: Peer URLs already exists",
    )
}

const UNKNOWN: &str = "etcdserver: member not found";

async fn removing_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(
        case.member_remove(MemberRemoveRequest { id: 4711 }).await,
        Code::NotFound,
        UNKNOWN,
    )
}

async fn updating_an_unknown_one(case: &mut Case) -> Result<()> {
    let ask = MemberUpdateRequest {
        id: 4711,
        peer_ur_ls: vec!["http://127.0.0.1:1".into()],
    };
    refused(case.member_update(ask).await, Code::NotFound, UNKNOWN)
}

async fn promoting_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(
        case.member_promote(MemberPromoteRequest { id: 4711 }).await,
        Code::NotFound,
        UNKNOWN,
    )
}

async fn promoting_a_voter(case: &mut Case) -> Result<()> {
    let ask = MemberPromoteRequest {
        id: case.member_id(),
    };
    refused(
        case.member_promote(ask).await,
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    )
}
