//! Layer `wire`: protobuf messages and their conversion to and from the model.
pub mod certificate;
pub mod convert;
pub mod enrol;
pub mod fault;
pub mod kept;
#[cfg(feature = "tls")]
pub mod keys;
pub mod methods;
pub mod stored;
pub mod shim;
pub mod token;
mod via;

/// What `cargo run -p xtask -- proto` makes of proto/; a test keeps it in step.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    rustdoc::all,
    reason = "generated code answers to its generator"
)]
pub mod generated {
    pub mod v1 {
        include!("generated/sandwatch.v1.rs");
    }
    pub mod shim {
        pub mod v1 {
            include!("generated/sandwatch.shim.v1.rs");
        }
    }
}

pub use generated::v1;
pub use via::{VIA, from_ssh, via_ssh};

/// The descriptors of every service and message, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptor.bin");

/// Raised when an old and a new program can't work together; `Hub` calls keep their meaning.
pub const PROTOCOL: u32 = 1;

/// Metadata keys that every call carries.
pub const CLIENT_ID_KEY: &str = "sandwatch-client-id";
pub const CLIENT_NAME_KEY: &str = "sandwatch-client-name-bin";
pub const CLIENT_VERSION_KEY: &str = "sandwatch-client-version";
