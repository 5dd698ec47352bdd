//! The promise: whatever fails, nothing is lost that the source still has, what is lost is named exactly, and nothing is
//! claimed that is not there. Real servers, real processes; each file is one fault.

mod compacted_while_away;
mod deleted_twice;
mod distrusted;
mod endpoints;
mod far_behind;
mod guarded_source;
mod killed_before_first_base;
mod mid_compaction;
#[path = "../rows/mod.rs"]
mod rows;
mod short_leases;
mod slow_head;
mod spooled;
mod stopped_during_base;
mod store_away;
mod two_agents;
mod world;
