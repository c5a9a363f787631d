//! Layer `app`: pure state and updates of the console.
