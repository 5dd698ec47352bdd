//! A benchmark of any server of etcd's v3 API: `cargo run --release -p revkeep-store --example bench -- put
//! --endpoints http://127.0.0.1:2379 --clients 100`.
//!
//! Each command prints one line of JSON. `deploy/dev/bench-store` runs it against etcd and the store in turn.

mod arguments;
mod connections;
mod fill;
mod load;
mod put;
mod range;
mod summary;
mod watch;

use arguments::{Arguments, Command};
use clap::Parser as _;
use std::io::Write as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let connections = connections::Connections::open(&arguments).await?;
    let report = match arguments.command {
        Command::Put(wish) => put::run(&connections, wish).await?,
        Command::Range(wish) => range::run(&connections, wish).await?,
        Command::Watch(wish) => watch::run(&connections, wish).await?,
        Command::Fill(wish) => fill::run(&connections, wish).await?,
    };
    writeln!(std::io::stdout().lock(), "{report}")?;
    Ok(())
}
