//! SIGHUP: the file is read again, and what can change does.

use super::load::{Loaded, Sources, load};
use super::merge::changes;
use super::resolve::needs_restart;
use super::settings::{Settings, key};
use crate::AgentError;
use crate::command::LogHandle;
use crate::run::{Route, RunOptions};

/// Takes up a changed configuration.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    /// What the agent runs with.
    now: Settings,
    route: Route,
    options: RunOptions,
    log: LogHandle,
}

impl Reloader {
    /// Of an agent that was started with `loaded`, which became `route` and `options`.
    #[must_use]
    pub fn new(
        (sources, loaded): (Sources, Loaded),
        (route, options): (&Route, &RunOptions),
        log: LogHandle,
    ) -> Self {
        Self {
            sources,
            now: loaded.settings,
            route: route.clone(),
            options: options.clone(),
            log,
        }
    }

    /// Reads all sources again. What is wrong in them is logged, and then nothing has changed.
    pub async fn reload(&mut self, variable: impl Fn(&str) -> Option<String>) {
        match self.try_reload(variable).await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "the configuration was not reloaded, and nothing has changed");
            }
        }
    }

    async fn try_reload(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(), AgentError> {
        let loaded = load(&self.sources, variable)?;
        let (route, options) = (loaded.route()?, loaded.options()?);
        // A certificate or a password that is not there would be missed only at the next connect.
        route.connection.access().prove().await?;
        let mut changed = 0_u32;
        for change in changes(&self.now, &loaded.settings) {
            let (setting, from, to) = (key(change.field), change.from, change.to);
            if needs_restart(change.field) {
                tracing::warn!(setting, from, to, "a changed setting needs a restart");
            } else {
                changed += 1;
                tracing::info!(setting, from, to, "a setting has changed");
            }
        }
        self.route.adopt(&route);
        self.options.adopt(&options);
        self.log.set(loaded.settings.log_level);
        self.now = loaded.settings;
        tracing::info!(changed, "the configuration was reloaded");
        Ok(())
    }
}
