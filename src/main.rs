//! The `sandwatch` binary.

fn main() -> std::process::ExitCode {
    sandwatch::cli::main()
}
