//! The book's reference of the command line, made from the definition that help and manual pages are made from.

use std::path::Path;

use clap::{Arg, Command};

const INTRODUCTION: &str = "# Command line reference

This page is generated from the definition of the command line. `lockstep COMMAND --help` prints the same text, and \
`lockstep man --dir DIR` writes manual pages.
";

#[test]
fn the_books_reference_is_current() {
    let mut lockstep = lockstep::command();
    lockstep.build();
    let mut made = INTRODUCTION.to_owned();
    made += "\n## Options of every command\n";
    made += &options(lockstep.get_arguments().filter(|arg| arg.is_global_set()));
    commands(&lockstep, &mut made);
    let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../docs/src/reference/cli.md");
    if std::env::var_os("LOCKSTEP_REFRESH").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    let refresh = "LOCKSTEP_REFRESH=1 cargo test -p lockstep --test cli";
    assert!(checked_in == made, "{} is out of date; refresh it with: {refresh}", path.display());
}

/// A section for each command below this one; a command that only has others below it gets none.
fn commands(parent: &Command, made: &mut String) {
    for command in parent.get_subcommands().filter(|command| command.get_name() != "help") {
        if command.has_subcommands() {
            commands(command, made);
        } else {
            *made += &section(command);
        }
    }
}

fn section(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_default();
    let about = command.get_long_about().or(command.get_about());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let about = about.map(ToString::to_string).unwrap_or_default();
    let mut made = format!("\n## {name}\n\n");
    for paragraph in about.split("\n\n") {
        made += &format!("{}.\n\n", escape(paragraph.trim_end_matches('.')));
    }
    for alias in command.get_visible_aliases() {
        made += &format!("`{alias}` is another name of this command.\n\n");
    }
    made += &format!("```text\n{usage}\n```\n");
    let own = |arg: &&Arg| !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    made += &options(command.get_arguments().filter(own));
    if let Some(after) = command.get_after_help() {
        made += &examples(&after.to_string());
    }
    made
}

/// A table of arguments and options; nothing where there are none.
fn options<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<String> = arguments.filter(|arg| !arg.is_hide_set()).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n| option | what it does |\n|---|---|\n{}", rows.concat())
}

fn row(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let name = arg.to_string();
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut help =
        format!("{}.", escape(help.trim_end_matches('.')).replace("\n\n", "<br>").replace('\n', " "));
    for value in arg.get_possible_values().iter().filter(|value| value.get_help().is_some()) {
        let says = value.get_help().map(ToString::to_string).unwrap_or_default();
        help += &format!("<br>`{}`: {}.", value.get_name(), escape(&says));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        help += &format!(" Default: `{}`.", defaults.join(", "));
    }
    format!("| {short}`{}` | {help} |\n", name.replace('|', "\\|"))
}

/// What comes after the options: prose, and commands behind "For example:" or indented.
fn examples(after: &str) -> String {
    let mut made = String::new();
    let mut inside = false;
    for line in after.lines().filter(|line| !line.trim().is_empty()) {
        let command = line.strip_prefix("For example").and_then(|rest| Some(rest.split_once(':')?.1));
        let command = command.or(line.starts_with("  ").then_some(line));
        if command.is_some() != inside {
            made += if inside { "```\n" } else { "\nFor example:\n\n```sh,norun\n" };
            inside = !inside;
        }
        match command.map(|command| command.strip_prefix("  ").unwrap_or(command)) {
            Some("") => {}
            Some(command) => made += &format!("{command}\n"),
            None => made += &format!("\n{}\n", escape(line)),
        }
    }
    if inside {
        made += "```\n";
    }
    made
}

/// Angle brackets and bars stand for themselves.
fn escape(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|")
}
