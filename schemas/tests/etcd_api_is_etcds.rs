//! The protobuf files say what etcd's say: every message, field, number, type, label, oneof, enum and method.
//!
//! `golden/etcd-api-3.7.txt` lists them as etcd's own files have them. To write it again for a newer etcd, check its
//! source out and run this file's ignored test with `REVKEEP_ETCD_SOURCE` naming the checkout.

use std::{collections::BTreeSet, fs, path::Path};

use protox::prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor};
use revkeep_schemas::etcd_api::FILE_DESCRIPTOR_SET;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/etcd-api-3.7.txt");
const PACKAGES: [&str; 5] = [
    "mvccpb",
    "authpb",
    "etcdserverpb",
    "v3electionpb",
    "v3lockpb",
];

fn field(field: &FieldDescriptor) -> String {
    format!(
        "{} = {} {:?} {:?}{}{}",
        field.full_name(),
        field.number(),
        field.cardinality(),
        field.kind(),
        if field.is_packed() { " packed" } else { "" },
        field
            .containing_oneof()
            .map_or_else(String::new, |oneof| format!(" oneof {}", oneof.name())),
    )
}

fn enumeration(lines: &mut BTreeSet<String>, kind: &EnumDescriptor) {
    for value in kind.values() {
        lines.insert(format!(
            "enum {}: {} = {}",
            kind.full_name(),
            value.name(),
            value.number()
        ));
    }
}

fn message(lines: &mut BTreeSet<String>, kind: &MessageDescriptor) {
    lines.insert(format!("message {}", kind.full_name()));
    lines.extend(kind.fields().map(|part| format!("field {}", field(&part))));
    kind.child_enums()
        .for_each(|part| enumeration(lines, &part));
    kind.child_messages().for_each(|part| message(lines, &part));
}

/// One line for each thing that the wire depends on, sorted.
fn listing(pool: &DescriptorPool, packages: &[&str]) -> String {
    let mut lines = BTreeSet::new();
    for file in pool
        .files()
        .filter(|file| packages.contains(&file.package_name()))
    {
        file.messages().for_each(|part| message(&mut lines, &part));
        file.enums().for_each(|part| enumeration(&mut lines, &part));
        for method in file
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
        {
            let stream = |streams| if streams { "stream " } else { "" };
            lines.insert(format!(
                "rpc {}: {}{} -> {}{}",
                method.full_name(),
                stream(method.is_client_streaming()),
                method.input().full_name(),
                stream(method.is_server_streaming()),
                method.output().full_name(),
            ));
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

#[test]
fn the_wire_is_that_of_etcd() {
    let ours = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let ours = listing(&ours, &PACKAGES);
    let golden = fs::read_to_string(GOLDEN).unwrap();
    let (ours, etcds): (BTreeSet<_>, BTreeSet<_>) =
        (ours.lines().collect(), golden.lines().collect());
    let missing: Vec<_> = etcds.difference(&ours).collect();
    let surplus: Vec<_> = ours.difference(&etcds).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing {missing:#?}, surplus {surplus:#?}"
    );
    assert!(
        ours.len() > 400,
        "the listing is cut short: {} lines",
        ours.len()
    );
}

/// The options that etcd's files carry, declared just well enough to be parsed and then ignored.
const HTTP: &str = r#"syntax = "proto3"; package google.api; import "google/protobuf/descriptor.proto";
    extend google.protobuf.MethodOptions { HttpRule http = 72295728; }
    message HttpRule { string post = 4; string body = 7; repeated HttpRule additional_bindings = 11; }"#;
const OPENAPI: &str = r#"syntax = "proto3"; package grpc.gateway.protoc_gen_openapiv2.options;
    import "google/protobuf/descriptor.proto";
    extend google.protobuf.FileOptions { Swagger openapiv2_swagger = 1042; }
    message Swagger { Definitions security_definitions = 11; repeated Requirement security = 12; }
    message Definitions { map<string, Scheme> security = 1; }
    message Scheme { enum Type { NO_TYPE = 0; TYPE_API_KEY = 2; } enum In { NO_IN = 0; IN_HEADER = 2; }
        Type type = 1; string name = 3; In in = 4; }
    message Requirement { message Value {} map<string, Value> security_requirement = 1; }"#;

#[test]
#[ignore = "writes the golden listing from etcd's source, named by REVKEEP_ETCD_SOURCE"]
fn write_the_listing() {
    let source = std::env::var("REVKEEP_ETCD_SOURCE").unwrap();
    let root = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("google/api/annotations.proto", HTTP.as_bytes());
    put(
        "protoc-gen-openapiv2/options/annotations.proto",
        OPENAPI.as_bytes(),
    );
    let election = "server/etcdserver/api/v3election/v3electionpb/v3election.proto";
    let lock = "server/etcdserver/api/v3lock/v3lockpb/v3lock.proto";
    let lease = "server/lease/leasepb/lease.proto";
    let api = [
        "mvccpb/kv",
        "authpb/auth",
        "versionpb/version",
        "etcdserverpb/rpc",
    ]
    .map(|name| format!("api/{name}.proto"));
    let files: Vec<_> = api
        .iter()
        .map(String::as_str)
        .chain([election, lock, lease])
        .collect();
    for file in &files {
        put(
            &format!("etcd/{file}"),
            &fs::read(Path::new(&source).join(file)).unwrap(),
        );
    }
    let set = protox::compile(
        files.iter().map(|file| format!("etcd/{file}")),
        [root.path()],
    )
    .unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(set).unwrap();
    fs::write(GOLDEN, listing(&pool, &PACKAGES)).unwrap();
    let ours = listing(
        &DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap(),
        &["leasepb"],
    );
    let etcds = listing(&pool, &["leasepb"]);
    for line in ours.lines() {
        assert!(
            etcds.lines().any(|other| other == line),
            "etcd's leasepb lacks: {line}"
        );
    }
}
