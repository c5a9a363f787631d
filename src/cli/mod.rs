//! Layer `cli`: arguments to verbs.
