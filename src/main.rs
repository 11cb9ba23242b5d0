//! The command `mcp-oauth`.

use std::process::ExitCode;

use mcp_oauth::cli;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let env = std::env::vars_os().map(|(name, value)| {
        // What is not Unicode is no value of ours; its name still deserves an answer.
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    });
    let mut terminal = cli::Terminal {
        input: &mut std::io::stdin().lock(),
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
        env: env.collect(),
    };
    cli::run(std::env::args_os(), &mut terminal).into()
}
