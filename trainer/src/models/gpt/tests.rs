#![allow(clippy::unwrap_used)] // A failed expectation is a failed test.

use super::published::parameter_of;
use super::shape::{Layout, Shape};
use super::*;
use crate::rank::Running;
use lockstep_c10d::Parameters;
use lockstep_job::{GptActivation, Norm as NormKind};
use serde_json::Value;
use tch::nn::VarStore;

fn small() -> Gpt {
    Gpt { layers: 2, heads: 4, width: 32, context: 8, vocab: Some(50), ..Gpt::default() }
}

fn llama() -> Gpt {
    Gpt {
        kv_heads: Some(2),
        norm: NormKind::Rms,
        activation: GptActivation::Swiglu,
        positions: Positions::Rotary,
        bias: false,
        qkv_bias: Some(true),
        tied: false,
        ..small()
    }
}

/// Windows of 8 tokens to read.
fn batch(num: i64) -> Batch {
    let tokens = Tensor::arange(num * 9, (Kind::Int, Device::Cpu)).view([num, 9]).remainder(50);
    Batch::new(vec![(tokens::COLUMN.into(), tokens)], (0..num.cast_unsigned()).collect())
}

fn build(gpt: &Gpt) -> (VarStore, Box<dyn Model>) {
    let vars = VarStore::new(Device::Cpu);
    let columns = batch(0);
    let (config, device) = (&Value::Null, Device::Cpu);
    let running = &Running::default();
    let setup = Setup { config, columns: &columns, num_classes: None, vocab: None, device, running };
    let model = gpt.build(&setup, &vars.root()).unwrap();
    (vars, model)
}

fn parameters(vars: &VarStore) -> Vec<(String, Vec<i64>)> {
    Parameters::of(vars).unwrap().iter().map(|(name, t)| (name.to_owned(), t.size())).collect()
}

fn logits(model: &dyn Model, batch: &Batch) -> Tensor {
    tch::no_grad(|| model.predict(batch).unwrap().get("logits").unwrap().shallow_clone())
}

#[test]
fn names_and_shapes_are_those_of_transformers() {
    let expect = |gpt: Gpt, expected: &[(&str, &[i64])]| {
        let expected: Vec<_> = expected.iter().map(|(n, s)| ((*n).to_owned(), s.to_vec())).collect();
        assert_eq!(parameters(&build(&Gpt { layers: 1, ..gpt }).0), expected);
    };
    expect(
        small(),
        &[
            ("transformer.wte.weight", &[64, 32]),
            ("transformer.wpe.weight", &[8, 32]),
            ("transformer.h.0.ln_1.weight", &[32]),
            ("transformer.h.0.ln_1.bias", &[32]),
            ("transformer.h.0.attn.c_attn.weight", &[32, 96]),
            ("transformer.h.0.attn.c_attn.bias", &[96]),
            ("transformer.h.0.attn.c_proj.weight", &[32, 32]),
            ("transformer.h.0.attn.c_proj.bias", &[32]),
            ("transformer.h.0.ln_2.weight", &[32]),
            ("transformer.h.0.ln_2.bias", &[32]),
            ("transformer.h.0.mlp.c_fc.weight", &[32, 128]),
            ("transformer.h.0.mlp.c_fc.bias", &[128]),
            ("transformer.h.0.mlp.c_proj.weight", &[128, 32]),
            ("transformer.h.0.mlp.c_proj.bias", &[32]),
            ("transformer.ln_f.weight", &[32]),
            ("transformer.ln_f.bias", &[32]),
        ],
    );
    expect(
        llama(),
        &[
            ("model.embed_tokens.weight", &[64, 32]),
            ("model.layers.0.input_layernorm.weight", &[32]),
            ("model.layers.0.self_attn.q_proj.weight", &[32, 32]),
            ("model.layers.0.self_attn.q_proj.bias", &[32]),
            ("model.layers.0.self_attn.k_proj.weight", &[16, 32]),
            ("model.layers.0.self_attn.k_proj.bias", &[16]),
            ("model.layers.0.self_attn.v_proj.weight", &[16, 32]),
            ("model.layers.0.self_attn.v_proj.bias", &[16]),
            ("model.layers.0.self_attn.o_proj.weight", &[32, 32]),
            ("model.layers.0.post_attention_layernorm.weight", &[32]),
            ("model.layers.0.mlp.gate_proj.weight", &[128, 32]),
            ("model.layers.0.mlp.up_proj.weight", &[128, 32]),
            ("model.layers.0.mlp.down_proj.weight", &[32, 128]),
            ("model.norm.weight", &[32]),
            ("lm_head.weight", &[64, 32]),
        ],
    );
}

#[test]
fn published_names_lead_to_parameters() {
    let gpt2 = |name| parameter_of(name, Layout::Gpt2, true);
    let llama = |name, is_tied| parameter_of(name, Layout::Llama, is_tied);
    let is = |name: &str| Some(name.to_owned());
    assert_eq!(gpt2("transformer.h.0.attn.c_attn.bias"), is("transformer.h.0.attn.c_attn.bias"));
    assert_eq!(gpt2("h.0.attn.c_attn.bias"), is("transformer.h.0.attn.c_attn.bias"));
    assert_eq!(gpt2("wte.weight"), is("transformer.wte.weight"));
    assert_eq!(gpt2("h.0.attn.bias"), None);
    assert_eq!(gpt2("lm_head.weight"), None);
    assert_eq!(gpt2("hat.weight"), is("hat.weight"));
    assert_eq!(llama("lm_head.weight", true), None);
    assert_eq!(llama("lm_head.weight", false), is("lm_head.weight"));
    assert_eq!(llama("model.layers.0.self_attn.rotary_emb.inv_freq", false), None);
}

#[test]
fn sizes_follow_from_the_job_and_the_data() {
    let of = |gpt: Gpt, in_data| Shape::of(&gpt, in_data);
    let small = of(Gpt::default(), Some(50_257)).unwrap();
    assert_eq!((small.vocab, small.padded_vocab), (50_257, 50_304));
    assert_eq!((small.head_size, small.kv_width(), small.mlp_width), (64, 768, 3072));
    let large = Gpt { layers: 48, heads: 25, width: 1600, ..Gpt::default() };
    assert_eq!(of(large, Some(64)).unwrap().head_size, 64);
    let swiglu = |width| Gpt { width, activation: GptActivation::Swiglu, ..Gpt::default() };
    let mlp_width = |width| of(swiglu(width), Some(1)).unwrap().mlp_width;
    assert_eq!([mlp_width(768), mlp_width(780)], [2048, 2112]);
    assert_eq!(of(Gpt { vocab: Some(7), ..Gpt::default() }, Some(9)).unwrap().vocab, 7);
    assert!(matches!(of(Gpt::default(), None), Err(TaskError::NoVocabulary)));
    assert!(matches!(of(Gpt { heads: 7, ..Gpt::default() }, Some(1)), Err(TaskError::Config { .. })));
}

/// GPT-2's smallest has 123.7 million parameters without those of positions and norms, each of which multiplies once a token; and
/// 12 layers that attend over 1024 tokens. TinyLlama has 1034 million, and 22 layers.
#[test]
fn a_token_takes_6_operations_for_each_weight_and_12_for_each_number_that_is_attended_to() {
    let gpt2 = Gpt { layers: 12, heads: 12, width: 768, context: 1024, vocab: Some(50257), ..Gpt::default() };
    let tiny_llama = Gpt {
        layers: 22,
        heads: 32,
        kv_heads: Some(4),
        width: 2048,
        mlp_width: Some(5632),
        context: 2048,
        vocab: Some(32000),
        ..llama()
    };
    for (spec, length, weights, attended) in
        [(gpt2, 1024, 123.5e6, 12 * 768), (tiny_llama, 2048, 1034e6, 22 * 2048)]
    {
        let expected = 6.0 * weights + 12.0 * (attended * length) as f64;
        let found = Shape::of(&spec, None).unwrap().flops(&spec, length);
        assert!((found / expected - 1.0).abs() < 0.002, "{found:e}, not {expected:e}");
    }
}

#[test]
fn a_column_that_holds_no_windows_is_described() {
    let windows = Windows { context: 8, vocab: 50, device: Device::Cpu };
    let of = |shape: &[i64], kind| {
        let column = Tensor::zeros(shape, (kind, Device::Cpu));
        windows.length(&Batch::new(vec![(tokens::COLUMN.into(), column)], Vec::new()))
    };
    for kind in [Kind::Uint8, Kind::Int8, Kind::Int16, Kind::Int, Kind::Int64] {
        assert_eq!(of(&[0, 9], kind).unwrap(), 8);
    }
    assert!(matches!(of(&[0, 10], Kind::Int), Err(TaskError::Context { length: 9, context: 8 })));
    let found = |shape, kind| match of(shape, kind) {
        Err(TaskError::Windows { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(&[0, 5], Kind::Float), "Float[0, 5]");
    assert_eq!(found(&[0, 1], Kind::Int), "Int[0, 1]");
    assert_eq!(found(&[3], Kind::Int64), "Int64[3]");
}

/// The share of 1024 or more draws that is looked at has a standard deviation within 10 % of the true one.
#[test]
fn initial_values_are_those_of_gpt2() {
    let (vars, _) = build(&small());
    let of = |name: &str| vars.variables()[name].shallow_clone();
    let std = |name: &str| f64::try_from(of(name).std(true)).unwrap();
    for (name, expected) in
        [("attn.c_attn", 0.02), ("attn.c_proj", 0.01), ("mlp.c_fc", 0.02), ("mlp.c_proj", 0.01)]
    {
        let found = std(&format!("transformer.h.1.{name}.weight"));
        assert!((found / expected - 1.0).abs() < 0.1, "{name}: {found}");
        assert_eq!(f64::try_from(of(&format!("transformer.h.1.{name}.bias")).abs().max()).unwrap(), 0.0);
    }
    assert_eq!(of("transformer.ln_f.weight"), Tensor::ones([32], (Kind::Float, Device::Cpu)));
    let wte = of("transformer.wte.weight");
    assert!((f64::try_from(wte.narrow(0, 0, 50).std(true)).unwrap() / 0.02 - 1.0).abs() < 0.1);
    assert_eq!(f64::try_from(wte.narrow(0, 50, 14).abs().max()).unwrap(), 0.0);
}

#[test]
fn a_token_is_predicted_from_those_before_it() {
    for gpt in [small(), llama()] {
        let (_vars, model) = build(&gpt);
        let (one, mut other) = (batch(2), batch(2).column(tokens::COLUMN).unwrap().copy());
        let _ = other.narrow(1, 5, 1).fill_(3);
        other = other.to_kind(Kind::Int64);
        let other = Batch::new(vec![(tokens::COLUMN.into(), other)], vec![0, 1]);
        let (a, b) = (logits(model.as_ref(), &one), logits(model.as_ref(), &other));
        assert_eq!(a.size(), [2, 8, 50]);
        let same = |from, len| (a.narrow(1, from, len) - b.narrow(1, from, len)).abs().max();
        assert_eq!(f64::try_from(same(0, 5)).unwrap(), 0.0);
        assert!(f64::try_from(same(5, 1)).unwrap() > 1e-4 && f64::try_from(same(7, 1)).unwrap() > 1e-6);
    }
}

/// The loss, and its gradient with respect to each parameter.
fn loss_and_gradients(model: &dyn Model, vars: &VarStore, batch: &Batch) -> (Tensor, Vec<Tensor>) {
    let loss = model.forward(batch).unwrap();
    let gradients = Tensor::run_backward(&[&loss], &vars.trainable_variables(), false, false);
    (loss.detach(), gradients)
}

#[test]
fn an_empty_batch_has_no_loss_and_a_gradient_of_zero_for_each_parameter() {
    for gpt in [small(), Gpt { dropout: 0.5, ..llama() }] {
        let (vars, model) = build(&gpt);
        let (loss, gradients) = loss_and_gradients(model.as_ref(), &vars, &batch(0));
        assert_eq!(f64::try_from(loss).unwrap(), 0.0);
        assert_eq!(gradients.len(), parameters(&vars).len());
        for ((name, shape), gradient) in parameters(&vars).iter().zip(gradients) {
            assert!(gradient.defined() && gradient.size() == *shape, "{name}");
            assert_eq!(f64::try_from(gradient.abs().max()).unwrap(), 0.0, "{name}");
        }
        assert_eq!(model.items(&batch(0)).unwrap(), Items::PerSample(8));
    }
}

#[test]
fn padding_is_never_trained() {
    for gpt in [small(), llama()] {
        let (vars, model) = build(&gpt);
        let (_, gradients) = loss_and_gradients(model.as_ref(), &vars, &batch(3));
        for ((name, _), gradient) in parameters(&vars).iter().zip(gradients) {
            if let Some(rows) = model.published_rows(name) {
                let pad = gradient.narrow(0, rows, 64 - rows).abs().max();
                assert_eq!(f64::try_from(pad).unwrap(), 0.0, "{name}");
            }
            assert!(f64::try_from(gradient.abs().max()).unwrap() > 0.0, "{name}");
        }
    }
}

#[test]
fn dropout_is_for_training_only() {
    for dropout in [0.0, 0.5] {
        let (_vars, model) = build(&Gpt { dropout, ..small() });
        let (one, other) = (logits(model.as_ref(), &batch(2)), logits(model.as_ref(), &batch(2)));
        assert_eq!(one, other);
        let loss = || f64::try_from(model.forward(&batch(2)).unwrap()).unwrap();
        assert_eq!(loss() == loss(), dropout == 0.0);
    }
}

#[test]
fn a_score_counts_the_tokens_that_are_right() {
    let (_vars, model) = build(&small());
    let batch = batch(2);
    let targets = batch.column(tokens::COLUMN).unwrap().narrow(1, 1, 8).to_kind(Kind::Int64);
    let right = targets.one_hot(50).to_kind(Kind::Float) * 100;
    let _ = right.narrow(0, 1, 1).narrow(1, 0, 3).zero_();
    let score = model.score(&Outputs::new([("logits", right)]), &batch).unwrap();
    assert_eq!(score.metrics[0].0, "accuracy");
    assert_eq!(f64::try_from(&score.metrics[0].1).unwrap(), 13.0);
    let loss = f64::try_from(score.loss).unwrap();
    assert!((loss - 3.0 * 50f64.ln()).abs() < 1e-4, "{loss}");
    // What predict and score say together is what forward says.
    let outputs = tch::no_grad(|| model.predict(&batch).unwrap());
    let score = f64::try_from(model.score(&outputs, &batch).unwrap().loss).unwrap();
    let forward = f64::try_from(model.forward(&batch).unwrap()).unwrap();
    assert!((score - forward).abs() < 1e-4 && (forward / 16.0 - 50f64.ln()).abs() < 0.1, "{score} {forward}");
}
