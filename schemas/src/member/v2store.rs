//! The v2 store as JSON: the data of a Raft snapshot.
//!
//! etcd up to 3.5 reads its members from it at boot, later ones only want it sound (etcd,
//! `server/etcdserver/api/v2store/` and `api/membership/storev2.go`). It is a tree of nodes; a member is the directory
//! `/0/members/{hex id}` with a file `raftAttributes`. A ring of the last 1000 events and counters follow.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use super::{MemberIdentity, json};
use crate::FormatError;

/// Slots of the ring of events, and so the most members that are written.
const EVENTS: usize = 1000;

/// The JSON of a store into which these members were put one after another, and nothing else. They have to be in
/// order of their ids.
///
/// # Errors
/// [`FormatError::Misuse`] for more than 1000 members.
pub fn encode(members: &[MemberIdentity]) -> Result<String, FormatError> {
    if members.len() > EVENTS {
        return Err(FormatError::misuse(
            "v2 store",
            format!("{} members, of at most {EVENTS}", members.len()),
        ));
    }
    let mut out = String::with_capacity(8 * 1024);
    out.push_str("{\"Root\":");
    open_node(&mut out, "/", 0, "");
    out.push_str("{\"0\":");
    open_node(&mut out, "/0", 0, "");
    out.push_str("{\"members\":");
    // A directory is as old as its first child.
    open_node(&mut out, "/0/members", members.len().min(1), "");
    push_members(&mut out, members);
    out.push_str("}},\"1\":");
    open_node(&mut out, "/1", 0, "");
    out.push_str("{}}}},");
    push_events(&mut out, members);
    push_stats(&mut out, members.len());
    Ok(out)
}

/// A node up to its children: the caller appends them and a brace.
fn open_node(out: &mut String, path: &str, index: usize, value: &str) {
    out.push_str("{\"Path\":");
    json::push_string(out, path);
    push(
        out,
        format_args!(
            ",\"CreatedIndex\":{index},\"ModifiedIndex\":{index},\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":"
        ),
    );
    json::push_string(out, value);
    out.push_str(",\"Children\":");
}

fn push_members(out: &mut String, members: &[MemberIdentity]) {
    // Go writes the keys of a map in order of their bytes; the indices count in order of the ids.
    let sorted: BTreeMap<_, _> = members
        .iter()
        .zip(1..)
        .map(|(member, index)| (member.hex_id(), (member, index)))
        .collect();
    for (position, (id, (member, index))) in sorted.into_iter().enumerate() {
        out.push(if position == 0 { '{' } else { ',' });
        json::push_string(out, &id);
        out.push(':');
        open_node(out, &format!("/0/members/{id}"), index, "");
        out.push_str("{\"raftAttributes\":");
        open_node(out, &attributes_path(member), index, &attributes(member));
        out.push_str("null}}}");
    }
    out.push_str(if members.is_empty() { "{}}" } else { "}}" });
}

fn push_events(out: &mut String, members: &[MemberIdentity]) {
    out.push_str("\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":[");
    for slot in 0..EVENTS {
        if slot > 0 {
            out.push(',');
        }
        let Some(member) = members.get(slot) else {
            out.push_str("null");
            continue;
        };
        out.push_str("{\"action\":\"create\",\"node\":{\"key\":");
        json::push_string(out, &attributes_path(member));
        out.push_str(",\"value\":");
        json::push_string(out, &attributes(member));
        let index = slot + 1;
        push(
            out,
            format_args!(",\"modifiedIndex\":{index},\"createdIndex\":{index}}}}}"),
        );
    }
    let size = members.len();
    push(
        out,
        format_args!(
            "],\"Size\":{size},\"Front\":0,\"Back\":{},\"Capacity\":{EVENTS}}},\"StartIndex\":{},\"LastIndex\":{size}}}}},",
            size % EVENTS,
            size.min(1),
        ),
    );
}

fn push_stats(out: &mut String, created: usize) {
    push(out, format_args!("\"CurrentIndex\":{created},\"Stats\":{{"));
    let counters = [
        "getsSuccess",
        "getsFail",
        "setsSuccess",
        "setsFail",
        "deleteSuccess",
        "deleteFail",
        "updateSuccess",
        "updateFail",
        "createSuccess",
        "createFail",
        "compareAndSwapSuccess",
        "compareAndSwapFail",
        "compareAndDeleteSuccess",
        "compareAndDeleteFail",
        "expireCount",
    ];
    for counter in counters {
        let count = if counter == "createSuccess" {
            created
        } else {
            0
        };
        push(out, format_args!("\"{counter}\":{count},"));
    }
    out.push_str("\"watchers\":0},\"CurrentVersion\":2}");
}

fn attributes_path(member: &MemberIdentity) -> String {
    format!("/0/members/{}/raftAttributes", member.hex_id())
}

fn attributes(member: &MemberIdentity) -> String {
    let mut out = "{\"peerURLs\":".to_owned();
    json::push_strings(&mut out, &member.peer_urls);
    out.push('}');
    out
}

/// Writing to a String cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[derive(Deserialize)]
struct Store {
    #[serde(rename = "Root")]
    root: Node,
}

#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Value", default)]
    value: String,
    #[serde(rename = "Children", default)]
    children: Option<BTreeMap<String, Node>>,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Self> {
        self.children.as_ref()?.get(name)
    }
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
    #[serde(default)]
    name: String,
}

/// The members that a store's JSON holds, by ascending id. A name is known once the member has published it
/// (`attributes`); a restored store has none, and it is empty then.
///
/// # Errors
/// [`FormatError::Corrupt`] when it is not such JSON.
pub fn members(data: &[u8]) -> Result<Vec<MemberIdentity>, FormatError> {
    let wrong = |error: &dyn std::fmt::Display| {
        FormatError::corrupt("v2 store", 0, "the JSON of a v2 store", error.to_string())
    };
    let store: Store = serde_json::from_slice(data).map_err(|error| wrong(&error))?;
    let nodes = store.root.child("0").and_then(|node| node.child("members"));
    let mut members = Vec::new();
    for (id, node) in nodes
        .and_then(|node| node.children.as_ref())
        .into_iter()
        .flatten()
    {
        let id = u64::from_str_radix(id, 16).map_err(|error| wrong(&error))?;
        let read = |name| {
            let text = node.child(name).map_or("{}", |node| &node.value);
            serde_json::from_str::<Attributes>(text).map_err(|error| wrong(&error))
        };
        members.push(MemberIdentity {
            id,
            name: read("attributes")?.name,
            peer_urls: read("raftAttributes")?.peer_urls,
        });
    }
    members.sort_by_key(|member| member.id);
    Ok(members)
}
