//! The source is asked for no more than it can spare, and is defragmented one member after another, the leader last, and only
//! while all are well.

mod defragments;
mod kind;
