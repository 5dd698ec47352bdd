//! What a member says over plain HTTP, on the same port as gRPC: the JSON gateway, health, version, metrics.

pub mod gateway;
