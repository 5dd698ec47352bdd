//! A look at every member of the cluster.

use std::time::Duration;

use futures::future::join_all;

use crate::AgentError;
use crate::source::{Alarm, Condition, Connection, Listed, Member};

/// How long a member may take to read from its own file. One that is being defragmented does not answer.
const OWN_READ: Duration = Duration::from_secs(3);

/// One member.
#[derive(Clone, Debug)]
pub struct MemberLook {
    /// As its cluster lists it.
    pub listed: Listed,
    /// How it is reached; nothing when it is not.
    pub member: Option<Member>,
    /// Its own word on itself.
    pub condition: Option<Condition>,
    /// Why it is not known how it is, or what it does not answer.
    pub error: Option<String>,
}

/// A cluster.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All its members.
    pub members: Vec<MemberLook>,
    /// Alarms that are set.
    pub alarms: Vec<Alarm>,
    /// Why it cannot say that it has a leader, if it cannot.
    pub read_error: Option<String>,
}

/// Looks at all members, through the one at `endpoint`. Those that are among the endpoints of the connection are reached
/// there, the others by the URLs that they advertise.
///
/// # Errors
/// When that one does not answer.
pub async fn look(connection: &Connection, endpoint: &str) -> Result<Found, AgentError> {
    let (member, _) = Member::connect(connection, endpoint).await?;
    let listed = member.members().await?;
    let alarms = member.alarms().await?;
    let read_error = member.current_revision().await.err();
    let known = by_id(connection).await;
    let looks = listed.into_iter().map(|listed| {
        let here = known.iter().find(|(id, _)| *id == listed.member_id);
        let here = here.map(|(_, endpoint)| endpoint.clone());
        Box::pin(look_at(connection, listed, here))
    });
    Ok(Found {
        members: join_all(looks).await,
        alarms,
        read_error: read_error.map(|error| error.to_string()),
    })
}

/// Which member is at which endpoint.
async fn by_id(connection: &Connection) -> Vec<(u64, String)> {
    let asking = connection.endpoints.iter().map(async |endpoint| {
        let (_, identity) = Member::connect(connection, endpoint).await.ok()?;
        Some((identity.member_id, endpoint.clone()))
    });
    join_all(asking.map(Box::pin))
        .await
        .into_iter()
        .flatten()
        .collect()
}

async fn look_at(connection: &Connection, listed: Listed, here: Option<String>) -> MemberLook {
    let mut look = MemberLook {
        listed,
        member: None,
        condition: None,
        error: None,
    };
    let endpoints: Vec<String> = here
        .into_iter()
        .chain(look.listed.client_urls.clone())
        .collect();
    if endpoints.is_empty() {
        look.error = Some("it has not started yet".to_owned());
    }
    for endpoint in endpoints {
        match reach(connection, &endpoint, look.listed.member_id).await {
            Ok((member, condition)) => {
                look.error = match member.reads_own(OWN_READ).await {
                    Ok(()) => None,
                    Err(error) => Some(error.to_string()),
                };
                (look.member, look.condition) = (Some(member), Some(condition));
                break;
            }
            Err(error) => look.error = Some(error.to_string()),
        }
    }
    look
}

async fn reach(
    connection: &Connection,
    endpoint: &str,
    id: u64,
) -> Result<(Member, Condition), AgentError> {
    let (member, _) = Member::connect(connection, endpoint).await?;
    let condition = member.condition().await?;
    if condition.member_id == id {
        return Ok((member, condition));
    }
    Err(AgentError::Connect {
        endpoint: endpoint.to_owned(),
        reason: format!("member {:x} answers there, not {id:x}", condition.member_id),
    })
}
