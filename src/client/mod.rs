//! Layer `client`: Runtime over gRPC.
