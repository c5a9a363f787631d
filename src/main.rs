//! The `sandwatch` binary.

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before anything is parsed or set up: a shim is lean and there are many of them.
    if args.next().is_some_and(|it| it == "shim")
        && let Some(dir) = args.next()
    {
        return sandwatch::shim::run(std::path::Path::new(&dir));
    }
    sandwatch::cli::main()
}
