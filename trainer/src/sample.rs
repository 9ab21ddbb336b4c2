//! Goes on with a prompt, as a trained model does: what `lockstep sample` starts a worker for.

use crate::checkpoint::{JOB, MODEL, STATE, State, TensorFile};
use crate::data::recorded;
use crate::rank::{Compute, Running, Variables};
use crate::task::{Batch, Model, Setup, Task};
use crate::{Error, Result};
use lockstep_c10d::rng;
use lockstep_datasets as datasets;
use lockstep_job::{self as job, JobSpec, Source};
use lockstep_run::sample::SampleRequest;
use lockstep_run::{RunDir, Step};
use std::io::{Read, Write};
use std::num::NonZero;
use std::thread::available_parallelism;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const TOKENS: &str = "tokens";

/// No prompt comes near; it bounds what a mistake can make us read.
const MAX_REQUEST_BYTES: u64 = 64 << 20;

/// Reads a request from standard input, and writes token after token, a line for each, as they come.
pub(crate) fn answer() -> Result<()> {
    let os = |what| move |source| Error::Os { what, source };
    let mut text = String::new();
    let input = std::io::stdin().lock().take(MAX_REQUEST_BYTES);
    std::io::BufReader::new(input).read_to_string(&mut text).map_err(os("reading the request"))?;
    let bad = |e: &dyn std::fmt::Display| Error::Job { reason: format!("the request can't be read: {e}") };
    let request: SampleRequest = serde_json::from_str(&text).map_err(|e| bad(&e))?;
    tch::set_num_threads(available_parallelism().map_or(1, NonZero::get) as i32);
    let mut writer = Sampler::open(request)?;
    let mut out = std::io::stdout().lock();
    while let Some(token) = writer.next()? {
        // Whoever asked may have gone.
        if writeln!(out, "{token}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(())
}

/// A model, and the tokens so far.
struct Sampler {
    request: SampleRequest,
    context: usize,
    model: Box<dyn Model>,
    device: Device,
    tokens: Vec<i64>,
}

impl Sampler {
    fn open(request: SampleRequest) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::Os { what: "starting the storage runtime", source })?;
        let run_dir = RunDir::open(&request.run_dir)?;
        let file = |name| runtime.block_on(run_dir.fetch_verified(request.checkpoint, name));
        let (job, weights) = (parse(&file(JOB)?)?, file(MODEL)?);
        let Some(job::Model::Gpt(gpt)) = &job.model else {
            let reason = "its model writes no text; only model.kind gpt does".to_owned();
            return Err(Error::Job { reason });
        };
        let is_known = gpt.vocab.is_some() && !request.is_text;
        let vocab = if is_known { None } else { vocab(&job, &file(STATE)?)? };
        let device = Compute::default().device();
        let (vars, running) = (VarStore::new(device), Running::default());
        let columns = batch(&[0, 0], device)?.narrow(0..0)?;
        let setup = Setup {
            config: &serde_json::Value::Null,
            columns: &columns,
            num_classes: None,
            vocab,
            device,
            running: &running,
        };
        let failed = |source| Error::Task { rank: lockstep_run::Rank(0), step: Step(0), source };
        let model = gpt.build(&setup, &vars.root()).map_err(failed)?;
        TensorFile::parse(MODEL, &weights)?.restore_all(Variables::of(&vars, None)?.all())?;
        rng::seed(request.seed)?;
        let (context, tokens) = (gpt.context as usize, request.prompt.clone());
        Ok(Self { request, context, model, device, tokens })
    }

    /// The next token; none once there are enough.
    fn next(&mut self) -> Result<Option<i64>> {
        if self.tokens.len() - self.request.prompt.len() >= self.request.count as usize {
            return Ok(None);
        }
        let _no_grad = tch::no_grad_guard();
        // What is read is one token less than a window holds.
        let mut window = self.tokens[self.tokens.len().saturating_sub(self.context)..].to_vec();
        window.push(0);
        let failed = |source| Error::Task { rank: lockstep_run::Rank(0), step: Step(0), source };
        let outputs = self.model.predict(&batch(&window, self.device)?).map_err(failed)?;
        let logits = outputs.get("logits").map_err(failed)?.f_select(1, -1)?.f_view([-1])?;
        let token = draw(&logits, self.request.temperature, self.request.top_k)?;
        self.tokens.push(token);
        Ok(Some(token))
    }
}

/// Draws one of the logits' places by the default generator; the likeliest at a temperature of 0.
///
/// Shape: `[vocab]`
fn draw(logits: &Tensor, temperature: f64, top_k: Option<u32>) -> Result<i64> {
    if temperature == 0.0 {
        return Ok(logits.f_argmax(-1, false)?.f_int64_value(&[])?);
    }
    let most = logits.size()[0];
    let kept = top_k.map_or(most, |k| i64::from(k).min(most)).max(1);
    let (values, places) = logits.f_to_kind(Kind::Double)?.f_topk(kept, -1, true, true)?;
    let drawn = values.f_div_scalar(temperature)?.f_softmax(-1, Kind::Double)?.f_multinomial(1, false)?;
    Ok(places.f_index_select(0, &drawn)?.f_int64_value(&[0])?)
}

fn batch(tokens: &[i64], device: Device) -> Result<Batch> {
    let tokens = Tensor::f_from_slice(tokens)?.f_view([1, -1])?.f_to_device(device)?;
    Ok(Batch::new(vec![(TOKENS.to_owned(), tokens)], vec![0]))
}

fn parse(job: &[u8]) -> Result<JobSpec> {
    let text = String::from_utf8_lossy(job).into_owned();
    let parsed = job::parse(&Source { path: JOB.into(), text }, &[]);
    parsed.map_err(|problems| Error::Job { reason: problems.to_string() })
}

/// The vocabulary that the data names, which must be the data that the model was trained on.
fn vocab(job: &JobSpec, state: &[u8]) -> Result<Option<i64>> {
    let Some(data) = &job.data else { return Ok(None) };
    let (uri, split) = (&data.train.uri, data.train.split.as_deref().unwrap_or_default());
    let dataset = match data.window {
        Some(window) => datasets::Dataset::open_tokens(uri, split, window)?,
        None => datasets::Dataset::open(uri, split)?,
    };
    let state: State = serde_json::from_slice(state).map_err(|e| Error::state(STATE, e))?;
    state.dataset.compare(&recorded(&dataset, data.train.split.clone()))?;
    Ok(dataset.range(TOKENS).map(|range| range.max as i64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_is_taken_without_temperature_and_few_are_drawn_from_where_few_are_kept() {
        let logits = Tensor::from_slice(&[0.0f32, 3.0, 1.0, 2.9]);
        assert_eq!(draw(&logits, 0.0, None).unwrap(), 1);
        // Other tests draw from the same generator, so no seed helps: the rarest one is one in 42.
        let drawn = |top_k| (0..2000).map(|_| draw(&logits, 1.0, top_k).unwrap()).collect::<Vec<_>>();
        let (two, all) = (drawn(Some(2)), drawn(None));
        assert!(two.iter().all(|token| [1, 3].contains(token)) && two.contains(&1) && two.contains(&3));
        assert!((0..4).all(|token| all.contains(&token)), "of {}", all.len());
        assert!(drawn(Some(1)).iter().all(|token| *token == 1));
        // A large vocabulary doesn't limit what may be asked for.
        assert!(draw(&logits, 1.0, Some(1000)).is_ok());
    }
}
