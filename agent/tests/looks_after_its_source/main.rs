//! The source is defragmented one member after another, the leader last, and only while all are well.

mod defragments;
