//! Layer `config`: schema, loading with spans, paths, environment.
pub mod paths;
