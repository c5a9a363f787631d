//! Layer `shim`: the per-sandbox process.
