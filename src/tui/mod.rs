//! Layer `tui`: event loop and terminal.
