use crate::local::sibling;
use crate::runs::RunArg;
use crate::{Context, Exit, Failure, Output, block_on};
use anyhow::Context as _;
use lockstep_datasets::{Dataset, Decoder, Tokenizer};
use lockstep_job::{Source, parse};
use lockstep_run::checkpoint::JOB;
use lockstep_run::sample::{SAMPLE, SampleRequest};
use lockstep_run::{CommitRef, RunDir, Step};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Write text with a model that a run has trained
///
/// It goes on with the prompt, token by token, with the parameters of the run's newest checkpoint. The model must be of
/// `model.kind` gpt. This machine computes it, with lockstep-worker, and must be able to read the run's storage.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:  lockstep sample shakespeare-gpt --prompt 'ROMEO:' --length 300")]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,

    /// Text to go on with
    #[arg(long, value_name = "TEXT", required_unless_present = "tokens", conflicts_with = "tokens")]
    prompt: Option<String>,

    /// The tokenizer.json that made the run's tokens; without it they must be bytes
    #[arg(long, value_name = "FILE", default_value = "bytes", value_parser = Tokenizer::open, conflicts_with = "tokens")]
    tokenizer: Tokenizer,

    /// Numbers of the tokens to go on with, with commas between; what comes is printed as numbers, too
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    tokens: Option<Vec<i64>>,

    /// How many tokens to write
    #[arg(long, value_name = "N", default_value_t = 200)]
    length: u32,

    /// How freely to choose: 0 always takes the likeliest token, 1 draws as the model learned
    #[arg(long, value_name = "NUMBER", default_value_t = 0.8, value_parser = temperature)]
    temperature: f64,

    /// Choose among so many of the likeliest tokens only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,

    /// Seed of the draws: the same one gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Use the checkpoint of this step, not the newest
    #[arg(long, value_name = "N")]
    step: Option<u64>,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let worker = sibling("lockstep-worker")?;
    let (dir, checkpoint, job) = block_on(async {
        let dir = args.run.open().await?;
        let checkpoint = checkpoint(&dir, args).await?;
        // Not the run's: it may have started over with another one.
        let job = dir.fetch_verified(checkpoint, JOB).await?;
        anyhow::Ok((dir, checkpoint, String::from_utf8_lossy(&job).into_owned()))
    })?;
    let prompt = match (&args.prompt, &args.tokens) {
        (Some(text), _) => {
            made_by(&args.tokenizer, job)?;
            args.tokenizer.encode(text)?.into_iter().map(i64::from).collect()
        }
        (None, tokens) => tokens.clone().unwrap_or_default(),
    };
    if prompt.is_empty() {
        return Err(Failure::usage("the prompt is empty").note("fix", "write at least one character").into());
    }
    let request = SampleRequest {
        run_dir: dir.uri(""),
        checkpoint,
        prompt,
        is_text: args.prompt.is_some(),
        count: args.length,
        temperature: args.temperature,
        top_k: args.top_k,
        seed: args.seed,
    };
    let mut child = Command::new(&worker)
        .arg(SAMPLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {}", worker.display()))?;
    if let Some(mut input) = child.stdin.take() {
        // A worker that went away says why on its standard error.
        let _ = input.write_all(&serde_json::to_vec(&request)?);
    }
    let mut written = Vec::new();
    let mut shown = Shown::new(args, context)?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let token = line?.parse::<i64>().context("the worker wrote something else than a token")?;
            written.push(token);
            shown.take(token)?;
        }
    }
    if !child.wait()?.success() {
        return Ok(Exit::Failed);
    }
    let shown = shown.end()?;
    if context.output.format.is_data() {
        let text = args.prompt.as_ref().map(|_| shown.text);
        let json = json!({ "step": checkpoint.step, "prompt": args.prompt, "text": text, "tokens": written });
        context.output.result(&json, String::new)?;
    }
    Ok(Exit::Done)
}

/// The newest checkpoint of the run's lineage, or the one of the step that is asked for.
async fn checkpoint(dir: &RunDir, args: &Args) -> anyhow::Result<CommitRef> {
    let wanted = |commit: &CommitRef| args.step.is_none_or(|step| commit.step == Step(step));
    let lineage = dir.lineage_until(dir.newest_generation().await?, wanted).await?;
    if let Some(found) = lineage.iter().find(|commit| wanted(commit)) {
        return Ok(*found);
    }
    let there: Vec<_> = lineage.iter().map(|commit| commit.step.to_string()).collect();
    let what = match args.step {
        Some(step) => format!("run {} has no checkpoint of step {step}", args.run.run),
        None => format!("run {} has no checkpoint yet", args.run.run),
    };
    let failure = Failure::usage(what);
    Err(match there.is_empty() {
        true => failure.into(),
        false => failure.note("there are", there.join(", ")).into(),
    })
}

/// Text stands for tokens only by the tokenizer that made those of the run's data.
fn made_by(tokenizer: &Tokenizer, job: String) -> anyhow::Result<()> {
    let job = parse(&Source { path: JOB.into(), text: job }, &[])?;
    let other = |what: String| {
        let fix = "name its tokenizer.json with --tokenizer, or give the prompt as --tokens";
        Err(Failure::usage(what).note("fix", fix).into())
    };
    let Some(data) = &job.data else {
        return other("the run has no data that says what its tokens are".into());
    };
    let (uri, split) = (&data.train.uri, data.train.split.as_deref().unwrap_or_default());
    let dataset = match data.window {
        Some(window) => Dataset::open_tokens(uri, split, window)?,
        None => Dataset::open(uri, split)?,
    };
    match dataset.tokenizer() {
        Some(recorded) if tokenizer.made(recorded) => Ok(()),
        Some(recorded) => {
            other(format!("the tokens of {} are those of {recorded}, not of {tokenizer}", dataset.uri()))
        }
        None => other(format!("{} doesn't say what its tokens are", dataset.uri())),
    }
}

/// What was written so far, shown as it comes: of text, no character before it is whole.
struct Shown<'a> {
    output: Output,
    decoder: Option<Decoder<'a>>,
    text: String,
}

impl<'a> Shown<'a> {
    fn new(args: &'a Args, context: &Context) -> anyhow::Result<Self> {
        let decoder = args.prompt.as_ref().map(|_| args.tokenizer.decoder());
        let shown = Self { output: context.output, decoder, text: String::new() };
        shown.print(args.prompt.as_deref().unwrap_or_default())?;
        Ok(shown)
    }

    fn take(&mut self, token: i64) -> anyhow::Result<()> {
        let Some(decoder) = &mut self.decoder else { return self.print(&format!("{token} ")) };
        let text = decoder.push(token)?;
        self.print(&text)?;
        self.text += &text;
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<Self> {
        let rest = self.decoder.take().map(Decoder::end).unwrap_or_default();
        self.print(&format!("{rest}\n"))?;
        self.text += &rest;
        Ok(self)
    }

    /// Nothing that a terminal would take for an order; nothing at all, where the result is data.
    fn print(&self, text: &str) -> anyhow::Result<()> {
        if self.output.format.is_data() {
            return Ok(());
        }
        let is_order = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        Ok(self.output.part(&text.replace(is_order, "\u{fffd}"))?)
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number),
        _ => Err("write a number from 0 on, such as 0.8".to_owned()),
    }
}
