//! What can change while the agent runs is taken up without a restart: its configuration, passwords, certificates. What is
//! secret is shown nowhere.

mod certificates;
mod configuration;
mod credentials;
mod status_port;
mod world;
