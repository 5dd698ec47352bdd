//! Generates etcd's v3 API from `proto/etcd/*.proto`, what the members of the store say to each other from
//! `proto/store/*.proto`, and how an agent and a vault's catalog are asked from `proto/agent/*.proto` and
//! `proto/vault/*.proto`. The compiler of protobuf files is a
//! crate, so nothing has to be installed for it. Clients and servers are generated only for the features of these names.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use prost::Message as _;

const ETCD: &str = "proto/etcd";
const STORE: &str = "proto/store";
const AGENT: &str = "proto/agent";
const VAULT: &str = "proto/vault";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let etcd = protox::compile(files(ETCD)?, [ETCD])?;
    fs::write(out.join("etcd_api.bin"), etcd.encode_to_vec())?;
    generator().compile_fds(etcd)?;

    // In a folder of its own: it also writes the messages that ours refer to, which are those of above.
    let store = out.join("store");
    fs::create_dir_all(&store)?;
    generator()
        .out_dir(store)
        .extern_path(".etcdserverpb", "crate::etcd_api::etcdserverpb")
        .compile_fds(protox::compile(files(STORE)?, [STORE, ETCD])?)?;

    let agent = protox::compile(files(AGENT)?, [AGENT])?;
    fs::write(out.join("agent_api.bin"), agent.encode_to_vec())?;
    let agent_out = out.join("agent");
    fs::create_dir_all(&agent_out)?;
    generator().out_dir(agent_out).compile_fds(agent)?;

    let vault = protox::compile(files(VAULT)?, [VAULT])?;
    fs::write(out.join("catalog_api.bin"), vault.encode_to_vec())?;
    let vault_out = out.join("vault");
    fs::create_dir_all(&vault_out)?;
    generator().out_dir(vault_out).compile_fds(vault)?;
    Ok(())
}

fn generator() -> tonic_prost_build::Builder {
    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .bytes(".")
}

fn files(folder: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(Path::new(folder))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "proto"));
    files.sort();
    Ok(files)
}
