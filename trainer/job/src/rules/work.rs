use super::Findings;
use crate::{Checkpoint, Device, Eval, Interval, JobSpec, Model, Optimizer, Train};

/// A job trains one model by the built-in loop, or runs one command; either has what it needs and nothing else.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    match (&job.model, &job.command) {
        (Some(model), None) => model_job(job, model, found),
        (None, Some(command)) => command_job(job, command, found),
        // One that was written and is wrong has its problem already.
        (None, None) if found.given("model") || found.given("command") => {}
        (None, None) => {
            let fix = "add model: { kind: mlp } or command: [python, train.py]";
            found.add("model", "there is nothing to run: the job has neither `model` nor `command`", fix);
        }
        (Some(_), Some(_)) => {
            let path = found.later("model", "command");
            found.add(path, "the job has both `model` and `command`", "keep one of the two");
        }
    }
}

fn model_job(job: &JobSpec, model: &Model, found: &mut Findings<'_>) {
    match (job.train.steps, job.train.epochs) {
        (Some(_), Some(_)) => {
            let path = found.later("train.steps", "train.epochs");
            found.add(path, "train has both `steps` and `epochs`", "keep one of the two");
        }
        (None, None) if !found.given("train.steps") && !found.given("train.epochs") => {
            found.add("train", "train has neither `steps` nor `epochs`", "add steps: 1000 or epochs: 10");
        }
        _ => {}
    }
    if matches!(model, Model::Custom(_)) && job.worker.is_none() {
        let fix = "add worker: path/to/your/binary";
        found.add("model.kind", "model.kind is custom, but no `worker` names the binary with its task", fix);
    }
    if job.data.is_some() || found.given("data") {
        return;
    }
    if !matches!(model, Model::Custom(_)) {
        let fix = "add data: { train: { uri: path/to/dataset } }";
        found.add("data", "there is no `data` to train on", fix);
        return;
    }
    let epochs = [
        ("train.epochs", job.train.epochs.is_some()),
        ("log.every", matches!(job.log.every, Interval::Epochs(_))),
    ];
    for (path, _) in epochs.into_iter().filter(|(_, by_epoch)| *by_epoch) {
        found.add(path, format!("{path} counts epochs, but there is no `data`"), "count steps, or add data");
    }
}

fn command_job(job: &JobSpec, command: &[String], found: &mut Findings<'_>) {
    if command.first().is_some_and(String::is_empty) {
        found.add("command", "command names no program", "write the program first: [python, train.py]");
    }
    let idle = [
        ("data", job.data.is_some()),
        (
            "train",
            job.train
                != Train {
                    micro_batch: job.train.micro_batch,
                    threads: job.train.threads,
                    ..Train::default()
                },
        ),
        ("optimizer", job.optimizer != Optimizer::default()),
        ("eval", job.eval != Eval { micro_batch: job.eval.micro_batch, ..Eval::default() }),
        ("checkpoint", job.checkpoint != Checkpoint::default()),
        ("worker", job.worker.is_some()),
        ("warmStart", job.warm_start.is_some()),
        ("device", job.device != Device::default()),
        ("reproducible", job.reproducible.is_some()),
    ];
    for (path, _) in idle.into_iter().filter(|(_, set)| *set) {
        if found.given(path) {
            let what = format!("{path} has no effect: `command` brings its own training loop");
            let fix = match (path, found.given("train.threads")) {
                ("train", true) => "keep train.threads, and remove its other fields".to_owned(),
                _ => format!("remove {path}"),
            };
            found.add(path, what, fix);
        }
    }
}
