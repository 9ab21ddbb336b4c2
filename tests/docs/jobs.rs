//! Job files that a page shows are valid.

use lockstep_job::{Problem, Source, resolve};

use crate::blocks::{Use, blocks};
use crate::page::for_users;

#[test]
fn job_files_are_valid() {
    let mut wrong = Vec::new();
    let mut whole = 0;
    for page in for_users() {
        for block in blocks(&page).unwrap_or_default() {
            let allowed: fn(&Problem) -> bool = match block.what {
                Use::Job => |_| false,
                Use::Fragment => is_missing,
                Use::Run { .. } | Use::Show => continue,
            };
            whole += usize::from(block.what == Use::Job);
            let source = Source { path: page.at(block.line).into(), text: block.text };
            let problems = resolve(&source, &[]).err().map(|problems| problems.list).unwrap_or_default();
            for problem in problems.iter().filter(|problem| !allowed(problem)) {
                wrong.push(format!("{}: {}; {}", page.at(block.line), problem.what, problem.fix));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(whole > 3, "where are the job files? {whole}");
}

/// Whether what is wrong with a part of a job file is only that it is a part.
fn is_missing(problem: &Problem) -> bool {
    problem.fix.starts_with("add ")
}
