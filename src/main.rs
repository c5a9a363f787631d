//! The `sandwatch` binary.

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before anything is parsed or set up: a shim is lean and there are many of them.
    match args.next() {
        Some(verb) if verb == "shim" => {
            if let Some(dir) = args.next() {
                return sandwatch::shim::run(std::path::Path::new(&dir));
            }
        }
        Some(verb) if verb == sandwatch::driver::local::steward::VERB => {
            sandwatch::driver::local::steward::serve()
        }
        _ => {}
    }
    sandwatch::cli::main()
}
