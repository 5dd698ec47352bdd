//! Connections to the servers.

use crate::arguments::Arguments;
use anyhow::{Context, Result};
use revkeep_schemas::etcd_api::etcdserverpb::kv_client::KvClient;
use tonic::transport::{Channel, Endpoint};

/// Open connections, spread over the endpoints.
#[derive(Debug)]
pub(crate) struct Connections {
    channels: Vec<Channel>,
}

impl Connections {
    /// Opens them.
    pub(crate) async fn open(arguments: &Arguments) -> Result<Self> {
        let mut channels = Vec::new();
        for url in arguments
            .endpoints
            .iter()
            .cycle()
            .take(arguments.connections.max(1))
        {
            let endpoint = Endpoint::from_shared(url.clone())?.tcp_nodelay(true);
            let channel = endpoint.connect().await;
            channels.push(channel.with_context(|| format!("cannot reach {url}"))?);
        }
        Ok(Self { channels })
    }

    /// The connection of a client.
    pub(crate) fn channel(&self, client: usize) -> Channel {
        let index = client % self.channels.len();
        #[expect(clippy::indexing_slicing, reason = "a remainder of the length")]
        self.channels[index].clone()
    }

    /// A client of keys and values.
    pub(crate) fn kv(&self, client: usize) -> KvClient<Channel> {
        KvClient::new(self.channel(client)).max_decoding_message_size(256 << 20)
    }
}

/// The key of a number, of 16 bytes.
pub(crate) fn key(number: u64) -> bytes::Bytes {
    format!("bench/{number:010}").into_bytes().into()
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Those of a client.
    pub(crate) fn of(client: usize) -> Self {
        Self(client as u64 ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next, below a bound. (xorshift64*, Vigna 2016.)
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound.max(1)
    }
}
