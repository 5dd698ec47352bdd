//! The same clients, watchers and judge, for members that are processes.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{
    audit::audit,
    client::Client,
    judge::{Verdict, judge},
    watcher::Watcher,
    world::StoreWorld,
};

/// Clients and watchers at work on processes.
pub struct Processes {
    world: Arc<StoreWorld>,
    tasks: JoinSet<()>,
}

impl Processes {
    /// Starts clients and watchers of the members that serve on these ports, named `m0`, `m1`, …
    pub fn begin(seed: u64, ports: Vec<u16>, clients: usize, watchers: usize) -> Self {
        let world = StoreWorld::of_processes(seed, ports);
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            tasks.spawn(Client::new(Arc::clone(&world), number as i64 + 1).work());
        }
        for number in 0..watchers {
            tasks.spawn(Watcher::new(Arc::clone(&world), number).work());
        }
        tasks.spawn(audit(Arc::clone(&world)));
        Self { world, tasks }
    }

    /// Once everything works again: lets the clients stop, waits until all members and watchers are equally far, and
    /// judges what they saw.
    pub async fn judge(mut self, settle: Duration) -> Result<Verdict, String> {
        self.world.base.be_quiet();
        let ended = tokio::time::timeout(settle, async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        let Ok(ended) = ended.await else {
            let record = self.world.record();
            return Err(format!(
                "not settled {settle:?} after the last fault: {}; {:?}",
                record.unsettled, record.failures
            ));
        };
        ended?;
        let audit = self.world.audit().ok_or("nobody compared the members")?;
        judge(&self.world.record(), &audit)
    }
}
