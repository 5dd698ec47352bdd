//! From the command line to what is done.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::log::{self, LogHandle};
use super::remote::Remote;
use super::{
    Arguments, Command, ConfigCommand, Format, LogLevel, SnapshotArguments, config, output,
};
use crate::AgentError;
use crate::check::check;
use crate::config::{
    Loaded, Origin, Origins, Reloader, Settings, Sources, load, tell, unknown_variables,
};
use crate::run::{run, snapshot};
use crate::status::stored_base;

/// Settings that mean something to `snapshot` as well; the others are taken there, from a file say, and not shown.
const OF_SNAPSHOT: [&str; 17] = [
    "config",
    "endpoints",
    "cacert",
    "cert",
    "key",
    "insecure_skip_tls_verify",
    "user",
    "password",
    "password_file",
    "dial_timeout",
    "command_timeout",
    "vault",
    "cluster",
    "state_dir",
    "hashkv",
    "agent",
    "timeout",
];

/// A command line that was read.
#[derive(Debug)]
pub struct Invocation {
    arguments: Arguments,
    /// Where its settings come from, if it has any.
    sources: Option<Sources>,
    loaded: Option<Loaded>,
    log: Option<LogHandle>,
}

/// The command line as clap has it.
pub(super) fn command() -> clap::Command {
    Arguments::command().mut_subcommand("snapshot", |snapshot| {
        snapshot.mut_args(|argument| {
            let shown = OF_SNAPSHOT.contains(&argument.get_id().as_str());
            let ours = Settings::keys().contains(&argument.get_id().as_str().replace('_', "-"));
            argument.hide(ours && !shown)
        })
    })
}

impl Invocation {
    /// Reads a command line, and the variables that stand in for flags.
    ///
    /// # Errors
    /// clap's, which prints itself.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(words)?;
        let mut arguments = Arguments::from_arg_matches(&matches)?;
        let sources = sources(&mut arguments, &matches);
        Ok(Self {
            arguments,
            sources,
            loaded: None,
            log: None,
        })
    }

    /// Reads the configuration, and starts to log to stderr; `RUST_LOG` decides what, if it is set.
    ///
    /// # Errors
    /// [`AgentError::Config`] for a configuration that is wrong.
    pub fn start(&mut self) -> Result<(), AgentError> {
        let sources = self.sources.as_ref();
        let loaded = sources.map(|sources| load(sources, variable)).transpose()?;
        let level = match &loaded {
            Some(loaded) => loaded.settings.log_level,
            None => self.arguments.log.level(),
        };
        self.loaded = loaded;
        let level = level.unwrap_or(LogLevel::Info);
        self.log = Some(log::start(level, self.json_errors()));
        if let Some(loaded) = &self.loaded {
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            for text in unknown_variables(names) {
                tracing::warn!("{text}");
            }
            tell(loaded);
        }
        Ok(())
    }

    /// Whether what goes to stderr is JSON.
    #[must_use]
    pub fn json_errors(&self) -> bool {
        let loaded = self.loaded.as_ref();
        let told = loaded.and_then(|loaded| loaded.settings.log_format);
        match told {
            Some(format) => format == super::LogFormat::Json,
            None => self.arguments.log.json(self.json()),
        }
    }

    fn json(&self) -> bool {
        self.arguments.write_out == Format::Json
    }

    fn loaded(&self) -> Result<&Loaded, AgentError> {
        let missing = || AgentError::Internal("the settings were not read".to_owned());
        self.loaded.as_ref().ok_or_else(missing)
    }

    /// Does what was asked, until `stop`.
    ///
    /// # Errors
    /// [`AgentError::Interrupted`] when a one-shot command was stopped.
    pub async fn execute(&self, stop: CancellationToken) -> Result<(), AgentError> {
        let json = self.json();
        match &self.arguments.command {
            Command::Run(_) => Box::pin(self.run(stop)).await,
            Command::Check(_) => tokio::select! {
                checked = Box::pin(check(self.loaded()?)) => output::checked(&checked?, json),
                () = stop.cancelled() => Err(AgentError::Interrupted),
            },
            Command::Snapshot(arguments) => tokio::select! {
                taken = Box::pin(self.snapshot(arguments, json)) => taken,
                () = stop.cancelled() => Err(AgentError::Interrupted),
            },
            Command::Flush(arguments) => {
                let mut agent = arguments.remote.connect().await?;
                output::durable(agent.flush(arguments.timeout).await?, json)
            }
            Command::Status(remote) => {
                let status = remote.connect().await?.status().await?;
                output::status(&status, json)
            }
            Command::Config(ConfigCommand::Check { file }) => config::check(file, json),
            Command::Config(ConfigCommand::Print(_)) => config::print(self.loaded()?, json),
        }
    }

    async fn run(&self, stop: CancellationToken) -> Result<(), AgentError> {
        let loaded = self.loaded()?;
        let (route, options) = (loaded.route()?, loaded.options()?);
        let mut reloading = None;
        if let (Some(sources), Some(log)) = (&self.sources, &self.log) {
            let started = (sources.clone(), loaded.clone());
            let reloader = Reloader::new(started, (&route, &options), log.clone());
            reloading = Some(tokio::spawn(reload_on_signal(reloader)));
        }
        let ended = Box::pin(run(route, options, stop)).await;
        if let Some(reloading) = reloading {
            reloading.abort();
        }
        ended
    }

    async fn snapshot(&self, arguments: &SnapshotArguments, json: bool) -> Result<(), AgentError> {
        if let Some(agent) = &arguments.agent {
            let mut agent = Remote::connect(agent, &arguments.tls).await?;
            return output::base(&agent.snapshot(arguments.timeout).await?, json);
        }
        let loaded = self.loaded()?;
        let manifest = Box::pin(snapshot(&loaded.route()?, loaded.prefer())).await?;
        output::base(&stored_base(&manifest), json)
    }
}

/// SIGHUP has the configuration read again.
async fn reload_on_signal(mut reloader: Reloader) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::warn!("SIGHUP cannot be heard: a changed configuration needs a restart");
        return;
    };
    while hangup.recv().await.is_some() {
        reloader.reload(variable).await;
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What was given for settings, and by which way.
fn sources(arguments: &mut Arguments, matches: &ArgMatches) -> Option<Sources> {
    let (log_format, log_level) = (arguments.log.log_format, arguments.log.level());
    let given = arguments.command.given()?;
    let mut settings = given.settings.clone();
    (settings.log_format, settings.log_level) = (log_format, log_level);
    let file = given.config.clone();
    let mut innermost = matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let mut origins = Origins::new();
    for field in Settings::fields() {
        // Flags of every command are not in a command's own list.
        let by_variable = [innermost, matches].into_iter().any(|matches| {
            let source = matches.try_contains_id(field).is_ok_and(|known| known);
            source && matches.value_source(field) == Some(ValueSource::EnvVariable)
        });
        let origin = if by_variable {
            Origin::Variable(format!("REVKEEP_{}", field.to_ascii_uppercase()))
        } else {
            Origin::Flag
        };
        origins.insert(field, origin);
    }
    Some(Sources {
        given: settings,
        origins,
        file,
    })
}
