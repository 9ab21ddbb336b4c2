//! What `--help` says, for every command: options are an interface, and change on purpose only.

use std::{fmt::Write, path::Path};

#[test]
fn help_is_current() {
    let mut made = String::new();
    let mut lockstep = lockstep::command().term_width(100);
    lockstep.build();
    help(&lockstep, "lockstep", &mut made);
    let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/cli/help.txt");
    if std::env::var_os("LOCKSTEP_REFRESH").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    let refresh = "LOCKSTEP_REFRESH=1 cargo test -p lockstep --test cli";
    assert!(checked_in == made, "{} is out of date; refresh it with: {refresh}", path.display());
}

fn help(command: &clap::Command, name: &str, made: &mut String) {
    let text = command.clone().render_long_help().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert!(write!(made, "$ {name} --help\n{}\n\n", lines.join("\n")).is_ok());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        help(sub, &format!("{name} {}", sub.get_name()), made);
    }
}
