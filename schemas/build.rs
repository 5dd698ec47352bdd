//! Generates etcd's v3 API from `proto/etcd/*.proto`. The compiler of protobuf files is a crate, so nothing has to be
//! installed for it. Clients and servers are generated only for the features of these names.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTOS: &str = "proto/etcd";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTOS}");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = fs::read_dir(PROTOS)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "proto"));
    files.sort();
    let descriptors = protox::compile(files, [PROTOS])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("etcd_api.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
