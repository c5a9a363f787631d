//! Layer `wire`: protobuf messages and their conversion.
