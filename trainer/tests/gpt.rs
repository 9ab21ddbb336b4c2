//! The transformer: it learns the same however the work is dealt, goes on with the same bits, and is the one that others
//! publish weights for.

#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

mod support;

use lockstep_job::{Gpt, JobSpec};
use lockstep_run::Step;
use lockstep_trainer::{Batch, Error, Model, Running, Setup, Stop, Task, TaskError, load_weights};
use serde_json::{Value, json};
use support::blobs::{LENGTH, VOCAB, windows};
use support::twin::{self, Twin};
use support::{World, job_from};
use tch::{Device, Kind, Tensor, nn::VarStore};

const STEPS: u64 = 20;

/// A small GPT-2 over the windows of `support/blobs.rs`.
fn spec(changes: Value) -> JobSpec {
    let base = json!({
        "name": "test",
        "model": {"kind": "gpt", "layers": 2, "heads": 4, "width": 32, "context": LENGTH, "vocab": VOCAB},
        "data": {"train": {"uri": "memory"}},
        "train": {"steps": STEPS, "globalBatch": 16, "clipGradNorm": 1.0},
        "optimizer": {"kind": "adamw", "lr": 1e-2},
        "log": {"every": "1 steps"},
    });
    job_from(base, changes)
}

fn world(changes: Value) -> World {
    World::new(spec(changes))
}

/// Sums are added in another order, so the bits differ; over 20 steps the losses stay within 2e-5.
#[test]
fn it_learns_the_same_on_any_number_of_ranks() {
    let losses = |nodes: u32, micro_batch: Option<u32>| {
        let world = world(json!({"nodes": nodes, "train": {"microBatch": micro_batch}}));
        world.train().done(STEPS).losses()
    };
    let one = losses(1, None);
    let uniform = (VOCAB as f64).ln();
    assert!((one[0] - uniform).abs() < 0.1, "a mean over tokens, of a model that knows nothing: {}", one[0]);
    assert!(one[19] < one[0] * 0.75, "it learns: {one:?}");
    for other in [losses(2, None), losses(4, None), losses(2, Some(2))] {
        for (a, b) in one.iter().zip(&other) {
            assert!((a - b).abs() <= 2e-5 * a, "{a} {b}");
        }
    }
}

/// The last step of an epoch of 18 leaves some ranks without a sample, and evaluation of 3 leaves one so.
#[test]
fn ranks_without_samples_take_part() {
    let losses = |nodes: u32| {
        let mut world = world(json!({
            "nodes": nodes, "data": {"tail": "pad", "eval": {"uri": "memory"}},
            "eval": {"every": "20 steps"},
            // Of no samples there is a gradient, too, if what lies before it is computed again.
            "model": {"recompute": (nodes > 1).then_some("block")},
        }));
        (world.data.num_train, world.data.num_eval) = (18, 3);
        let outcome = world.train().done(STEPS);
        (outcome.losses(), outcome.eval())
    };
    let ((one, eval_one), (four, eval_four)) = (losses(1), losses(4));
    assert!(one.iter().zip(&four).all(|(a, b)| (a - b).abs() <= 2e-5 * a), "{one:?} {four:?}");
    assert_eq!(eval_one["accuracy"], eval_four["accuracy"]);
    assert!((eval_one["loss"] - eval_four["loss"]).abs() <= 2e-5 * eval_one["loss"]);
    let correct = eval_one["accuracy"] * (3 * LENGTH) as f64;
    assert!((correct - correct.round()).abs() < 1e-9, "a count of tokens: {correct}");
}

#[test]
fn it_resumes_with_the_same_bits() {
    for (nodes, precision) in [(1, "fp32"), (2, "bf16"), (2, "bf16-params"), (1, "fp16"), (4, "fp32")] {
        // Ranks that are threads share one generator.
        let dropout = if nodes == 1 { 0.2 } else { 0.0 };
        let undisturbed = world(json!({
            "nodes": nodes, "model": {"dropout": dropout},
            "train": {"microBatch": 2, "precision": precision},
            "checkpoint": {"every": "7 steps", "keepLast": 10},
        }));
        undisturbed.train().done(STEPS);
        let broken = World::new(undisturbed.job.clone());
        broken.train_with(|_, control| {
            control.stop_at(Stop { step: Step(17), reason: "test".into(), ends_run: true })
        });
        let resumed = broken.resume(14);
        resumed.train().done(STEPS);
        let (expected, found) = (undisturbed.checkpoint(STEPS), resumed.checkpoint(STEPS));
        for file in ["model.safetensors", "optimizer.safetensors"] {
            assert_eq!(expected[file], found[file], "{nodes} ranks, {file}");
        }
    }
}

/// Over two micro batches a step, whose gradients are added up before they are averaged.
#[test]
fn what_is_computed_again_has_the_same_bits() {
    let llama = json!({"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": false, "kvHeads": 2, "tied": false});
    for (nodes, model, precision) in
        [(1, json!({}), "fp32"), (1, json!({}), "bf16"), (2, json!({}), "bf16"), (2, llama, "fp32")]
    {
        // Ranks that are threads share one generator.
        let dropout = if nodes == 1 { 0.2 } else { 0.0 };
        let run = |recompute: Option<&str>| {
            let mut model = model.clone();
            model["dropout"] = json!(dropout);
            model["recompute"] = json!(recompute);
            let train = json!({"microBatch": 8 / nodes, "precision": precision});
            let world = world(json!({"nodes": nodes, "model": model, "train": train}));
            let losses = world.train().done(STEPS).losses();
            (losses, world.checkpoint(STEPS)["model.safetensors"].clone())
        };
        let (again, kept) = (run(Some("block")), run(None));
        assert_eq!(again.0, kept.0, "{nodes} ranks, {model}, {precision}");
        assert!(again.1 == kept.1, "{nodes} ranks, {model}, {precision}: other parameters");
    }
}

#[test]
fn every_variant_learns_the_same_bits_each_time() {
    let llama = json!({
        "norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": false, "kvHeads": 2, "tied": false,
    });
    let mixtures = [
        llama,
        json!({"kvHeads": 1, "dropout": 0.1}),
        json!({"norm": "rms"}),
        json!({"positions": "rotary", "qkvBias": false}),
        json!({"activation": "swiglu", "mlpWidth": 40, "bias": false, "qkvBias": true}),
    ];
    for model in mixtures {
        let run = || {
            let world = world(json!({"model": model}));
            let losses = world.train().done(STEPS).losses();
            (losses, world.checkpoint(STEPS)["model.safetensors"].clone())
        };
        let (losses, bytes) = run();
        assert!(losses[19] < losses[0] * 0.9, "{model}: {losses:?}");
        assert_eq!(run(), (losses, bytes), "{model}");
    }
}

#[test]
fn what_the_model_can_not_read_is_named() {
    let error = |model: Value| {
        let error = world(json!({"model": model})).train().ranks.remove(0).unwrap_err();
        assert!(matches!(error, Error::Task { .. }) && error.kind().is_fatal(), "{error:?}");
        error.to_string()
    };
    let text = error(json!({"vocab": VOCAB - 1}));
    assert!(text.contains("has token 59 at place "), "{text}");
    assert!(text.contains("but the model has 59 tokens (0 to 58)"), "{text}");
    let text = error(json!({"context": 15}));
    assert!(text.contains("16 tokens to read, but the model reads at most 15"), "{text}");
    let text = error(json!({"vocab": null}));
    assert!(text.contains("set model.vocab"), "{text}");
}

/// A GPT-2 with a vocabulary of 60, which is padded here and not there: the losses agree within 2e-5 of them, and the
/// parameters within 2e-5. In bf16 a number has three digits, and what is rounded differently once is different from then on.
#[test]
fn pytorch_learns_the_same_on_1_2_and_4_ranks() {
    for (nodes, numbers) in [(1, FP32), (2, FP32), (4, FP32), (2, BF16), (2, BF16_PARAMS), (2, FP16)] {
        as_pytorch_does(nodes, numbers);
    }
}

#[test]
#[ignore = "minutes; `make test-full` runs it"]
fn pytorch_learns_the_same_in_all_numbers_on_1_2_and_4_ranks() {
    for nodes in [1, 2, 4] {
        for numbers in [FP32, BF16, BF16_PARAMS, FP16] {
            as_pytorch_does(nodes, numbers);
        }
    }
}

/// In which numbers it is computed, and how far losses and parameters may then be apart.
type Numbers = (&'static str, f64, f64);
const FP32: Numbers = ("fp32", 2e-5, 2e-5);
const BF16: Numbers = ("bf16", 2e-3, 5e-2);
const BF16_PARAMS: Numbers = ("bf16-params", 2e-3, 5e-2);
const FP16: Numbers = ("fp16", 1e-3, 2e-2);

fn as_pytorch_does(nodes: u32, (precision, losses_within, parameters_within): Numbers) {
    let twin = Twin {
        model: json!({"kind": "gpt2", "options": [2, 4, 32, LENGTH, VOCAB]}),
        input: "tokens",
        target: None,
        optimizer: json!({"kind": "adamw", "options": {"weight_decay": 0.1}}),
        losses_within,
        parameters_within,
    };
    let changes = json!({
        "nodes": nodes, "optimizer": {"lr": 3e-3, "weightDecay": 0.1},
        "train": {"steps": 50, "microBatch": 8 / nodes, "precision": precision},
    });
    eprintln!("{nodes} ranks, {precision}:");
    let scale = twin::learns_the_same(|| spec(changes.clone()), &twin);
    assert_eq!(scale, (precision == "fp16").then_some(65536.0), "no gradient is that large");
}

/// The number of kinds among the parameters changes with it, and buckets hold one kind.
#[test]
fn a_run_goes_on_in_another_precision() {
    let in_precision = |precision: &str| spec(json!({"nodes": 2, "train": {"precision": precision}}));
    for (before, after) in [("fp32", "bf16-params"), ("bf16-params", "fp32"), ("bf16", "fp16")] {
        let broken = World::new(in_precision(before));
        broken.train_with(|_, control| {
            control.stop_at(Stop { step: Step(10), reason: "test".into(), ends_run: true })
        });
        let mut world = broken.resume(10);
        world.run.job = in_precision(after);
        let losses = world.train().done(STEPS).losses();
        assert!(losses[9] < losses[0], "{before}, then {after}: {losses:?}");
        let kinds = |world: &World, step| {
            let files = world.checkpoint(step);
            let tensors = safetensors::SafeTensors::deserialize(&files["model.safetensors"]).unwrap();
            tensors.iter().map(|(_, tensor)| tensor.dtype()).collect::<Vec<_>>()
        };
        assert!(kinds(&world, STEPS).iter().all(|kind| *kind == safetensors::Dtype::F32), "{after}");
    }
}

fn batch(samples: &[u64]) -> Batch {
    Batch::new(vec![("tokens".to_owned(), windows(samples))], samples.to_vec())
}

/// A model outside of training, whose parameters are all random: zeros and ones would hide a mistake.
struct Built {
    vars: VarStore,
    model: Box<dyn Model>,
}

impl Built {
    fn new(config: &Value) -> Self {
        let _alone = support::alone();
        let gpt: Gpt = serde_json::from_value(config.clone()).unwrap();
        let vars = VarStore::new(Device::Cpu);
        let (columns, running) = (batch(&[]), Running::default());
        let setup = Setup {
            config: &Value::Null,
            columns: &columns,
            num_classes: None,
            vocab: Some(VOCAB),
            device: Device::Cpu,
            running: &running,
        };
        let model = gpt.build(&setup, &vars.root()).unwrap();
        tch::no_grad(|| {
            for (name, variable) in vars.variables() {
                let rows = model.published_rows(&name).unwrap_or(variable.size()[0]);
                let _ = variable.narrow(0, 0, rows).normal_(0.1, 0.3);
            }
        });
        Self { vars, model }
    }

    fn logits(&self) -> Tensor {
        let batch = batch(&[0, 1, 2]);
        tch::no_grad(|| self.model.predict(&batch).unwrap().get("logits").unwrap().shallow_clone())
    }

    /// What is published: without padding.
    fn published(&self) -> Vec<(String, Tensor)> {
        let rows = |name: &str, t: &Tensor| self.model.published_rows(name).unwrap_or(t.size()[0]);
        let all = self.vars.variables().into_iter();
        all.map(|(name, t)| (name.clone(), t.narrow(0, 0, rows(&name, &t)).contiguous())).collect()
    }
}

/// Logits of both are the same within 1e-4, from the same weights, whoever of the two wrote them.
#[test]
fn weights_mean_the_same_to_transformers() {
    if !twin::has("transformers") {
        return;
    }
    let llama =
        json!({"norm": "rms", "activation": "swiglu", "positions": "rotary", "bias": false, "normEps": 1e-6});
    let with = |class: &str, base: &Value, own: Value| {
        let mut model = json!({"layers": 2, "heads": 4, "width": 32, "context": LENGTH, "mlpWidth": 72});
        for part in [base, &own] {
            model.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        (class.to_owned(), model)
    };
    let cases = [
        with("GPT2LMHeadModel", &json!({}), json!({"vocab": VOCAB})),
        with("GPT2LMHeadModel", &json!({}), json!({"tied": false, "heads": 2, "context": 40, "width": 24})),
        with("LlamaForCausalLM", &llama, json!({"tied": false})),
        with(
            "LlamaForCausalLM",
            &llama,
            json!({"kvHeads": 2, "ropeTheta": 500.0, "bias": true, "vocab": 64}),
        ),
        with(
            "Qwen2ForCausalLM",
            &llama,
            json!({"kvHeads": 1, "qkvBias": true, "ropeTheta": 1e6, "layers": 3}),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: String| folder.path().join(name);
    let ours: Vec<_> = cases.iter().map(|(_, model)| Built::new(model)).collect();
    for (i, built) in ours.iter().enumerate() {
        Tensor::write_safetensors(&built.published(), at(format!("{i}.ours.safetensors"))).unwrap();
    }
    let tokens = [("tokens", windows(&[0, 1, 2]).narrow(1, 0, LENGTH).contiguous())];
    Tensor::write_safetensors(&tokens, at("tokens.safetensors".into())).unwrap();
    std::fs::write(at("cases.json".into()), serde_json::to_string(&cases).unwrap()).unwrap();
    twin::run_python("transformers_twin.py", folder.path());
    for (i, ((class, model), built)) in cases.iter().zip(&ours).enumerate() {
        let logits = Tensor::read_safetensors(at(format!("{i}.logits.safetensors"))).unwrap();
        let theirs = |name: &str| &logits.iter().find(|(n, _)| n == name).unwrap().1;
        let close = |ours: &Tensor, theirs: &Tensor| {
            assert!(f64::try_from(theirs.std(true)).unwrap() > 0.3, "{class} says something: {theirs}");
            let difference = f64::try_from((ours - theirs).abs().max()).unwrap();
            assert!(difference <= 1e-4, "{class} {model}: {difference}");
        };
        close(&built.logits(), theirs("from_ours"));
        let other = Built::new(model);
        let bytes = std::fs::read(at(format!("{i}.theirs.safetensors"))).unwrap();
        load_weights(&[&bytes], &other.vars, other.model.as_ref()).unwrap();
        close(&other.logits(), theirs("from_theirs"));
    }
}

#[test]
fn weights_that_do_not_fit_are_all_named_and_nothing_is_copied() {
    let small = |own: Value| {
        let mut model = json!({"layers": 1, "heads": 2, "width": 8, "context": LENGTH});
        model.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        Built::new(&model)
    };
    let bytes = |tensors: &[(String, Tensor)]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        Tensor::write_safetensors(tensors, file.path()).unwrap();
        std::fs::read(file.path()).unwrap()
    };
    let (source, target) = (small(json!({})), small(json!({})));
    let before = target.logits();
    let mut wrong = source.published();
    wrong.sort_by(|(a, _), (b, _)| a.cmp(b));
    let cut = |(name, t): &(String, Tensor)| (name.clone(), t.narrow(0, 0, 3).contiguous());
    let at = |all: &[(String, Tensor)], wanted| all.iter().position(|(name, _)| name == wanted).unwrap();
    for name in ["transformer.h.0.attn.c_proj.bias", "transformer.wte.weight"] {
        let index = at(&wrong, name);
        wrong[index] = cut(&wrong[index]);
    }
    let (gone, _) = wrong.remove(at(&wrong, "transformer.ln_f.bias"));
    wrong.push(("other".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu))));
    let error = load_weights(&[&bytes(&wrong)], &target.vars, target.model.as_ref()).unwrap_err().to_string();
    for part in [
        format!("{gone} is missing"),
        "other is not a parameter of this model".to_owned(),
        "transformer.h.0.attn.c_proj.bias is F32[3], but this model needs Float[8]".to_owned(),
        "transformer.wte.weight is F32[3, 8], but this model needs Float[60, 8]".to_owned(),
    ] {
        assert!(error.contains(&part), "{part} in {error}");
    }
    assert_eq!(target.logits(), before);

    // In two files, in half precision: what is read is what half precision leaves.
    let half: Vec<_> = source.published().into_iter().map(|(n, t)| (n, t.to_kind(Kind::BFloat16))).collect();
    let (first, second) = half.split_at(5);
    let files = [bytes(first), bytes(second)];
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    load_weights(&files, &target.vars, target.model.as_ref()).unwrap();
    for (name, expected) in half {
        let found = target.published().into_iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!(found, expected.to_kind(Kind::Float), "{name}");
    }
    let pad = &target.vars.variables()["transformer.wte.weight"].narrow(0, VOCAB, 4);
    assert_eq!(f64::try_from(pad.abs().max()).unwrap(), 0.0);
    let twice = load_weights(&[files[0], files[0]], &target.vars, target.model.as_ref()).unwrap_err();
    assert!(twice.to_string().contains("is there twice"), "{twice}");
    let error = load_weights(&[b"not safetensors"], &target.vars, target.model.as_ref()).unwrap_err();
    assert!(matches!(error, Error::Weights { .. }), "{error:?}");
}

#[test]
fn a_token_is_named_with_its_sample_and_place() {
    let built = Built::new(&json!({"layers": 1, "heads": 2, "width": 8, "context": LENGTH, "vocab": VOCAB}));
    for (token, kind) in [(60, Kind::Int16), (-1, Kind::Int64)] {
        let tokens = windows(&[40, 41, 42]);
        let _ = tokens.get(1).get(LENGTH).fill_(token);
        let batch = Batch::new(vec![("tokens".to_owned(), tokens.to_kind(kind))], vec![40, 41, 42]);
        match built.model.forward(&batch) {
            Err(TaskError::Token { sample: 41, place: LENGTH, token: t, vocab: VOCAB }) => {
                assert_eq!(t, token)
            }
            other => panic!("{other:?}"),
        }
    }
}
