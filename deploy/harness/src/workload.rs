//! A seeded stream of operations that touches everything that a row can express.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{
    Client, CompactionOptions, Compare, CompareOp, DeleteOptions, PutOptions, ResponseHeader, Txn,
    TxnOp,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// The number of different keys; small, so that keys are overwritten, deleted and created again.
const KEYS: u32 = 150;
/// etcd's default limit of a request is 1.5 MiB, so the largest value stays below it.
const LARGEST_VALUE_BYTES: usize = 1 << 20;

/// Random operations; the same seed gives the same requests.
#[derive(Debug)]
pub struct Workload {
    rng: StdRng,
    leases: Vec<i64>,
    compactions: bool,
    /// Revisions that changed one key twice.
    twice: BTreeSet<i64>,
}

impl Workload {
    /// A workload with compactions between the writes.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            leases: Vec::new(),
            compactions: true,
            twice: BTreeSet::new(),
        }
    }

    /// The same without compactions, for sources whose whole history must stay readable.
    pub fn without_compactions(seed: u64) -> Self {
        Self {
            compactions: false,
            ..Self::new(seed)
        }
    }

    /// Sends one operation and waits for its answer.
    ///
    /// # Errors
    /// When etcd refuses what it should accept, or cannot be reached.
    pub async fn step(&mut self, etcd: &mut Client) -> Result<()> {
        match self.rng.random_range(0..100) {
            0..40 => self.put(etcd).await.context("put"),
            40..55 => {
                let key = self.key();
                etcd.delete(key, None).await.context("delete")?;
                Ok(())
            }
            55..60 => self.delete_range(etcd).await.context("delete a range"),
            60..72 => self.transaction(etcd).await.context("transaction"),
            72..78 => self
                .same_key_twice(etcd)
                .await
                .context("the same key twice"),
            78..92 => self.lease(etcd).await.context("lease"),
            92..95 if self.compactions => self.compact(etcd).await.context("compact"),
            _ => self.put_large(etcd).await.context("put a large value"),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.rng.random_range(0..KEYS);
        match number % 5 {
            // Binary keys, among them the smallest that there is and one past every prefix.
            0 => [&[0][..], &number.to_be_bytes()].concat(),
            1 => [&[0xff, 0xfe][..], &number.to_le_bytes()].concat(),
            2 => format!("/registry/pods/default/pod-{number}").into_bytes(),
            _ => format!("k{number}").into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.random_range(0..10) {
            0 => 0,
            1 => self.rng.random_range(2_000..20_000),
            _ => self.rng.random_range(1..400),
        };
        self.bytes(len)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    async fn put(&mut self, etcd: &mut Client) -> Result<()> {
        let (key, value) = (self.key(), self.value());
        etcd.put(key, value, None).await?;
        Ok(())
    }

    async fn put_large(&mut self, etcd: &mut Client) -> Result<()> {
        let len = self
            .rng
            .random_range(LARGEST_VALUE_BYTES / 8..=LARGEST_VALUE_BYTES);
        let (key, value) = (self.key(), self.bytes(len));
        etcd.put(key, value, None).await?;
        Ok(())
    }

    async fn delete_range(&mut self, etcd: &mut Client) -> Result<()> {
        let (a, b) = (self.key(), self.key());
        let (from, to) = if a <= b { (a, b) } else { (b, a) };
        // A short range of a long keyspace: most keys survive.
        let to = if self.rng.random_bool(0.8) {
            [&from[..], &[9]].concat()
        } else {
            to
        };
        etcd.delete(from, Some(DeleteOptions::new().with_range(to)))
            .await?;
        Ok(())
    }

    async fn transaction(&mut self, etcd: &mut Client) -> Result<()> {
        let mut operations = Vec::new();
        for n in 0..self.rng.random_range(1..12) {
            // One key may be changed once in a transaction, so each gets its own.
            let key = format!("t{n}-{}", self.rng.random_range(0..4));
            operations.push(if self.rng.random_bool(0.75) {
                TxnOp::put(key, self.value(), None)
            } else {
                TxnOp::delete(key, None)
            });
        }
        if self.rng.random_bool(0.5) {
            let inner = Txn::new()
                .when([Compare::version(self.key(), CompareOp::Greater, 0)])
                .and_then([TxnOp::put("inner", self.value(), None)])
                .or_else([
                    TxnOp::put("inner", "", None),
                    TxnOp::put("other", "x", None),
                ]);
            operations.push(TxnOp::txn(inner));
        }
        let (condition, operations_else) = (self.key(), [TxnOp::put("else", self.value(), None)]);
        let txn = Txn::new()
            .when([Compare::version(condition, CompareOp::Less, 3)])
            .and_then(operations)
            .or_else(operations_else);
        etcd.txn(txn).await?;
        Ok(())
    }

    /// etcd's check for duplicate keys does not see that a from-key delete covers a put, so a transaction with both
    /// changes one key twice in one revision.
    async fn same_key_twice(&mut self, etcd: &mut Client) -> Result<()> {
        // From 0xff 0xff on there are only keys of this shape.
        let key = vec![0xff, 0xff, self.rng.random_range(0..6)];
        etcd.put(key.clone(), self.value(), None).await?;
        let delete = TxnOp::delete(key.clone(), Some(DeleteOptions::new().with_from_key()));
        let put = TxnOp::put(key, self.value(), None);
        let operations = if self.rng.random_bool(0.7) {
            [delete, put]
        } else {
            [put, delete]
        };
        let answer = etcd.txn(Txn::new().and_then(operations)).await?;
        self.twice
            .extend(answer.header().map(ResponseHeader::revision));
        Ok(())
    }

    async fn lease(&mut self, etcd: &mut Client) -> Result<()> {
        if self.leases.len() > 6 || (!self.leases.is_empty() && self.rng.random_bool(0.2)) {
            let index = self.rng.random_range(0..self.leases.len());
            etcd.lease_revoke(self.leases.swap_remove(index)).await?;
            return Ok(());
        }
        let short = self.rng.random_bool(0.15);
        let ttl_s = if short {
            1
        } else {
            self.rng.random_range(600..90_000)
        };
        let lease = etcd.lease_grant(ttl_s, None).await?.id();
        for _ in 0..self.rng.random_range(1..4) {
            let (key, value) = (self.key(), self.value());
            etcd.put(key, value, Some(PutOptions::new().with_lease(lease)))
                .await?;
        }
        if !short {
            self.leases.push(lease);
        } else if self.rng.random_bool(0.3) {
            // Long enough for it to expire while nothing else happens.
            tokio::time::sleep(Duration::from_millis(2500)).await;
        }
        Ok(())
    }

    async fn compact(&mut self, etcd: &mut Client) -> Result<()> {
        let revision = crate::truth::revision(etcd).await?;
        let at = revision - self.rng.random_range(1..60);
        // Compacted exactly at a revision that deletes a key and puts it again, etcd loses the put, and exits when the
        // key is read (seen in 3.7.3).
        let at = if self.twice.contains(&at) { at - 1 } else { at };
        let physical = self.rng.random_bool(0.5);
        let options = physical.then(|| CompactionOptions::new().with_physical());
        match etcd.compact(at.max(1), options).await {
            Ok(_) => Ok(()),
            // Already compacted beyond: as good.
            Err(error) if error.to_string().contains("compacted") => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
