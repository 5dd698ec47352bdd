//! An S3 server in this process that fails as real ones do.
//!
//! In: requests over real HTTP, from any process; a [`Weather`] that a test changes while they come. Out: S3's answers, late,
//! lost, wrong or missing, as the weather says; and [`StormyBucket::contents`], the truth. Promise: what it answers with
//! success is kept, and shown in the truth at that moment. Never: signatures, versions, multipart uploads.
//! Next: [`StormyBucket`].

mod answer;
mod operate;
mod server;
mod weather;

pub use server::StormyBucket;
pub use weather::Weather;
