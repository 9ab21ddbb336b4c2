use lockstep_job::{Explained, JobSpec, Place, Problems, Resolved, explain};
use serde_json::{Value, json};

use crate::{Context, Exit, Format, JobFile, output::columns};

/// Check a job file and show all of its problems at once
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    job: JobFile,

    /// Show every field with its value, its default and where the value comes from
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let file = args.job.file.display().to_string();
    let resolved = match args.job.resolve() {
        Ok(resolved) => resolved,
        Err(error) if context.output.format == Format::Json => {
            let problems = error.downcast::<Problems>()?;
            context.output.text(&serde_json::to_string_pretty(&problems_json(&file, &problems))?)?;
            return Ok(Exit::Usage);
        }
        Err(error) => return Err(error),
    };
    let fields = args.explain.then(|| explain(&resolved));
    let mut json = json!({ "file": file, "ok": true, "job": resolved.job });
    if let Some(fields) = &fields {
        json["fields"] = fields.iter().map(field_json).collect();
    }
    context.output.result(&json, || match &fields {
        Some(fields) => table(fields),
        None => summary(&file, &resolved),
    })?;
    Ok(Exit::Done)
}

fn summary(file: &str, resolved: &Resolved) -> String {
    let job = &resolved.job;
    let work = match &job.command {
        Some(command) => command.join(" "),
        None => training(job),
    };
    let size = format!("{} x {}", count(job.nodes.into(), "node"), count(job.ranks_per_node.into(), "rank"));
    format!("{file} is valid: {}, {size}, {work}", job.name)
}

fn training(job: &JobSpec) -> String {
    let length = match (job.train.steps, job.train.epochs) {
        (Some(steps), _) => count(steps, "step"),
        (None, epochs) => count(epochs.unwrap_or_default(), "epoch"),
    };
    let accumulation = match job.accumulation() {
        1 => String::new(),
        passes => format!(" x {passes} accumulated"),
    };
    format!(
        "{length}, {} samples a step ({} per rank{accumulation})",
        job.train.global_batch,
        job.micro_batch()
    )
}

fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn table(fields: &[Explained]) -> String {
    let rows = fields.iter().map(|field| {
        let value = match (&field.value, &field.unit) {
            (Some(value), Some(unit)) => format!("{} {unit}", plain(value)),
            (Some(value), None) => plain(value),
            (None, _) => "-".to_owned(),
        };
        let default = field.default.as_ref().map_or("-".to_owned(), plain);
        [field.path.clone(), value, default, origin(field)]
    });
    columns(&["FIELD", "VALUE", "DEFAULT", "FROM"], rows)
}

fn origin(field: &Explained) -> String {
    match &field.place {
        None => "default".to_owned(),
        Some(Place::File(at)) => format!("line {}, column {}", at.line, at.column),
        Some(Place::Set(path)) => format!("--set {path}"),
        Some(Place::Whole) => "file".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn field_json(field: &Explained) -> Value {
    json!({
        "path": field.path,
        "value": field.value,
        "unit": field.unit,
        "default": field.default,
        "from": origin(field),
        "meaning": field.doc,
    })
}

fn problems_json(file: &str, problems: &Problems) -> Value {
    let problem = |problem: &lockstep_job::Problem| {
        let at = match &problem.place {
            Place::File(at) => Some(at),
            Place::Set(_) | Place::Whole => None,
        };
        json!({
            "place": problems.place(problem),
            "line": at.map(|at| at.line),
            "column": at.map(|at| at.column),
            "path": problem.path,
            "what": problem.what,
            "fix": problem.fix,
        })
    };
    json!({ "file": file, "ok": false, "problems": problems.list.iter().map(problem).collect::<Vec<_>>() })
}
