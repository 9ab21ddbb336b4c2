//! One rank of a training run; the agent of its node starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep_trainer::built_in_main()
}
