//! The promise: whoever asks the agent how it is, by probe, by scrape, by gRPC or in its log, is told the truth, and what
//! is called durable can be brought back. Real etcd, an object store that goes away, real processes.

mod asked;
mod exposition;
mod gap;
mod source_away;
mod store_away;
mod watched;
