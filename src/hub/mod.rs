//! Layer `hub`: gRPC over any Runtime.
