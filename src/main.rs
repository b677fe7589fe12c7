//! The program `cidp`: the command line and nothing else; everything it does lives in the library beside it.

fn main() -> std::process::ExitCode {
    cidp::cli::main()
}
