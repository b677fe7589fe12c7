//! The program `cidp`: the command line and nothing else; everything it does lives in the library beside it.

/// The allocator: many small events are made by one thread and freed by another, which the system's own one does slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cidp::cli::main()
}
