//! Layer `config`: schema, loading with spans, paths, environment.
pub mod address;
pub mod agents;
pub mod contexts;
pub mod environment;
pub mod import;
pub mod listen;
pub mod load;
pub mod oidc;
pub mod paths;
pub mod policy;
pub mod schema;
pub mod source;
pub mod status;
pub mod team;
