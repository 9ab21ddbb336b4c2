//! Commands that a page shows do what it says: those of one page in order, in a folder that looks like the checkout after
//! `make build`.

use std::path::Path;
use std::process::Command;

use lockstep_e2e::{Workspace, binary, repository};

use crate::blocks::{Block, Use, blocks};
use crate::page::{Page, for_users};

#[test]
fn commands_do_what_the_pages_say() {
    let mut ran = 0;
    for page in for_users() {
        let blocks: Vec<Block> = blocks(&page).unwrap_or_default();
        let commands = blocks.iter().filter(|block| matches!(block.what, Use::Run { .. })).count();
        if commands > 0 {
            run(&page, &blocks);
        }
        ran += commands;
    }
    assert!(ran > 5, "where are the commands? {ran}");
}

fn run(page: &Page, blocks: &[Block]) {
    let ws = checkout();
    let script = script(page, blocks);
    let launched = ws.start_in(&["sh", "-c", &script], "lockstep", "");
    let marker = launched.marker.clone();
    let ended = launched.finish();
    let last = ended.stderr.lines().rfind(|line| line.starts_with(MARK)).unwrap_or_default();
    assert!(
        ended.code == Some(0),
        "{last}: it ended with {:?}; stdout:\n{}\nstderr:\n{}",
        ended.code,
        ended.stdout,
        ended.stderr
    );
    marker.expect_none_left();
}

const MARK: &str = "== commands of ";

/// One script of all blocks, so that what a block exports is there in the next one.
fn script(page: &Page, blocks: &[Block]) -> String {
    let mut script = "set -e\n".to_owned();
    for Block { line, text, file, what } in blocks {
        if let Some(file) = file {
            script += &format!("cat > {file} <<'END OF FILE'\n{text}END OF FILE\n");
        }
        let Use::Run { exit } = what else { continue };
        script += &format!("echo '{MARK}{}' >&2\n", page.at(*line));
        script += &match exit {
            0 => text.clone(),
            exit => format!(
                "set +e\n(\nset -e\n{text})\ncode=$?\nset -e\n\
                 [ $code = {exit} ] || {{ echo \"exit code $code\" >&2; exit 1; }}\n"
            ),
        };
    }
    script
}

/// A folder with the examples, the digits and the binaries where a checkout that is built has them, and no cluster.
fn checkout() -> Workspace {
    let mut ws = Workspace::new();
    for folder in ["trainer/examples", "datasets/digits"] {
        copy(&repository().join(folder), &ws.path(folder));
    }
    let binaries = binary("lockstep").parent().map(Path::to_path_buf).unwrap_or_default();
    std::fs::create_dir_all(ws.path("target")).unwrap();
    for folder in ["target/release", "target/dist"] {
        std::os::unix::fs::symlink(&binaries, ws.path(folder)).unwrap();
    }
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
    let home = ws.path("home").display().to_string();
    for (name, value) in [("PATH", path.as_str()), ("KUBECONFIG", "/nowhere"), ("HOME", &home)] {
        ws.set_env(name, value);
    }
    ws
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{} can't be copied", from.display());
}
