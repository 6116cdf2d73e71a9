//! `echo-mesh`: one program for everything.

use std::process::ExitCode;

fn main() -> ExitCode {
    echo_mesh::main()
}
