//! Every command that a message names can be pasted into a shell as it is.

use lockstep_e2e::{Finished, Launched, Workspace, binary};

/// A place, a file and values that a shell would take apart.
const FILE: &str = "my job's $HOME.yaml";
const RUN_DIR: &str = "run dir & more";

struct Shell(Workspace);

impl Shell {
    fn new() -> Self {
        let mut ws = Workspace::new();
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = binary("lockstep").parent().unwrap().to_string_lossy().into_owned();
        ws.set_env("PATH", &format!("{bin}:{path}"));
        let none = ws.path("none").to_string_lossy().into_owned();
        ws.set_env("KUBECONFIG", &none);
        Self(ws)
    }

    fn start(&self, command: &str) -> Launched {
        self.0.start_in(&["sh", "-c", command], "lockstep", "")
    }

    /// Runs what a user would type or paste.
    fn run(&self, command: &str) -> Finished {
        self.start(command).finish()
    }
}

/// What stands behind `label` in a message, up to the next gap that no command has.
fn hint(text: &str, label: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.contains(label))
        .unwrap_or_else(|| panic!("«{label}» is not in:\n{text}"));
    let rest = line.split_once(label).unwrap().1.trim_start();
    rest.split("      ").next().unwrap().trim().to_owned()
}

const TYPED: &str = "lockstep launch -f \"my job's \\$HOME.yaml\" --local --run-dir 'run dir & more' --set 'env.V=exp #3 \"q\"'";

fn write_job(shell: &Shell, script: &str) {
    shell.0.write(FILE, &format!("name: odd\ncommand: [sh, -c, '{script}']\nrecovery: {{ sameCause: 1 }}\n"));
}

#[test]
fn a_run_that_is_done() {
    let shell = Shell::new();
    write_job(&shell, "echo \"V is $V\"");
    let done = shell.run(TYPED).expect_code(0);
    assert!(done.stderr.contains("V is exp #3 \"q\""), "{}", done.stderr);
    let again = shell.run(&hint(&done.stderr, "again ")).expect_code(0);
    assert!(
        again.stderr.contains("V is exp #3 \"q\"") && again.stderr.contains("from step 0"),
        "{}",
        again.stderr
    );
    let more = shell.run(&hint(&done.stderr, "more ")).expect_code(0);
    assert!(more.stdout.contains(RUN_DIR) && more.stdout.contains("done"), "{}", more.stdout);

    let already = shell.run(TYPED).expect_code(0);
    let over = shell.run(&hint(&already.stderr, "start over with:")).expect_code(0);
    assert!(over.stderr.contains("V is"), "{}", over.stderr);
}

#[test]
fn a_run_that_failed() {
    let shell = Shell::new();
    write_job(&shell, "[ -e good ] || exit 7");
    let failed = shell.run(TYPED).expect_code(1);
    shell.run(&hint(&failed.stderr, "look at ")).expect_code(0);
    let events = failed.stderr.split("      ").find(|part| part.starts_with("lockstep events")).unwrap();
    let events = shell.run(events.lines().next().unwrap()).expect_code(0);
    assert!(events.stdout.contains("exit code 7"), "{}", events.stdout);
    shell.0.write("good", "");
    shell.run(&hint(&failed.stderr, "carry on ")).expect_code(0);
    let none = shell.run("lockstep logs './run dir & more' --rank 3").expect_code(0);
    shell.run(&hint(&none.stderr, "to see what happened:")).expect_code(0);
}

#[test]
fn a_run_that_lives_and_one_that_was_stopped() {
    let shell = Shell::new();
    write_job(&shell, "echo here; until [ -e go ]; do sleep 0.05; done");
    let mut run = shell.start(&format!("exec {TYPED}"));
    run.wait_for_text("[rank 0] here");
    let other = shell.run(&format!("{TYPED} --set env.OTHER=1")).expect_code(2);
    assert!(other.stderr.contains("env.OTHER"), "{}", other.stderr);
    shell.run(&hint(&other.stderr, "stop it ")).expect_code(0);
    let stopped = run.finish().expect_code(4);
    shell.0.write("go", "");
    shell.run(&hint(&stopped.stderr, "Carry on with:")).expect_code(0);
    let nobody = shell.run("lockstep cancel './run dir & more' --now").expect_code(2);
    assert!(nobody.stderr.contains("is not running"), "{}", nobody.stderr);
}

#[test]
fn a_command_that_was_typed() {
    let shell = Shell::new();
    let typed =
        "lockstep launch --name typed --local --storage 'my runs' -- sh -c 'echo \"[$0] [$1]\"' 'a  b' '$c'";
    let done = shell.run(typed).expect_code(0);
    assert!(done.stderr.contains("[a  b] [$c]"), "{}", done.stderr);
    let again = hint(&done.stderr, "again ");
    assert!(again.find("--fresh") < again.find(" -- "), "{again}");
    let again = shell.run(&again).expect_code(0);
    assert!(again.stderr.contains("[a  b] [$c]") && again.stderr.contains("from step 0"), "{}", again.stderr);
}

#[test]
fn a_run_that_holds_another_job() {
    let shell = Shell::new();
    let digits = lockstep_e2e::repository().join("trainer/examples/digits.yaml");
    let launch =
        format!("lockstep launch -f {} --local --run-dir 'a b' --set train.steps=20", digits.display());
    shell.run(&launch).expect_code(0);
    let other = shell.run(&format!("{launch} --set train.seed=9")).expect_code(2);
    shell.run(&hint(&other.stderr, "start over ")).expect_code(0);
    let unknown = shell.run("lockstep status nobody").expect_code(2);
    assert!(unknown.stderr.contains("there is no run nobody"), "{}", unknown.stderr);
}
