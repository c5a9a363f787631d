//! Layer `ui`: pure drawing.
