//! Batch normalisation over ranks, against libtorch's own in one process that has the whole batch.
#![allow(clippy::disallowed_methods)] // what these tests compare with has no reducer
#![allow(clippy::unwrap_used)] // Test code, helpers included.

mod support;

use std::time::Duration;

use lockstep_c10d::{
    Autocast, BucketPlan, Error, GlooGroup, Parameters, ProcessGroup, Reducer, synced_batch_norm,
};
use support::{Rank, bits, max_difference, noise, ranks};
use tch::{Device, Kind, Tensor};

const EPS: f64 = 1e-5;
const CHANNELS: i64 = 5;
const SIDE: i64 = 4;

/// Samples of each rank.
const SHARES: [&[i64]; 4] = [&[6], &[4, 2], &[0, 5], &[3, 0, 1, 2]];

/// A layer of convolution and normalisation, whose weights are the same wherever it is made.
struct Layer {
    kernel: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl Layer {
    fn new(seed: i64, inputs: i64) -> Self {
        let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
        let zeros = || Tensor::zeros([CHANNELS], (Kind::Float, Device::Cpu));
        Self {
            kernel: leaf(noise(1000 * seed, CHANNELS * inputs * 9).view([CHANNELS, inputs, 3, 3])),
            weight: leaf(noise(1000 * seed + 500, CHANNELS) + 1.0),
            bias: leaf(noise(1000 * seed + 600, CHANNELS)),
            mean: zeros(),
            variance: zeros(),
        }
    }

    /// Over the ranks of a group, or by libtorch.
    fn forward(&self, x: &Tensor, group: Option<&GlooGroup>) -> lockstep_c10d::Result<Tensor> {
        let x = x.conv2d(&self.kernel, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
        let (weight, bias) = (&self.weight, &self.bias);
        match group {
            Some(group) => synced_batch_norm(group, &x, weight, bias, &self.mean, &self.variance, EPS),
            None => {
                let (mean, variance) = (Some(&self.mean), Some(&self.variance));
                Ok(x.batch_norm(Some(weight), Some(bias), mean, variance, true, 1.0, EPS, true))
            }
        }
    }

    fn parameters(&self) -> [&Tensor; 3] {
        [&self.kernel, &self.weight, &self.bias]
    }
}

/// Pictures of three colours with these numbers, whose level depends on which it is.
fn pictures(first: i64, len: i64, is_channels_last: bool) -> Tensor {
    let level = Tensor::arange_start(first, first + len, (Kind::Float, Device::Cpu)).view([len, 1, 1, 1]);
    let pictures = noise(first * 3 * SIDE * SIDE, len * 3 * SIDE * SIDE).view([len, 3, SIDE, SIDE]) + level;
    match is_channels_last {
        true => pictures.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
        false => pictures,
    }
}

/// What a pass of one layer makes of some pictures.
struct Pass {
    output: Tensor,
    of_input: Tensor,
    of_parameters: Vec<Tensor>,
    statistics: [Tensor; 2],
}

fn pass(first: i64, len: i64, is_channels_last: bool, is_short: bool, group: Option<&GlooGroup>) -> Pass {
    let layer = Layer::new(1, 3);
    let x = pictures(first, len, is_channels_last).set_requires_grad(true);
    let numbers = is_short.then(|| Autocast::begin(Device::Cpu, Kind::BFloat16).unwrap());
    let output = layer.forward(&x, group).unwrap();
    drop(numbers);
    assert_eq!(output.kind(), if is_short { Kind::BFloat16 } else { Kind::Float });
    assert!(len == 0 || !is_channels_last || output.stride()[1] == 1, "{:?}", output.stride());
    let each = CHANNELS * SIDE * SIDE;
    let factors = noise(7000 + first * each, len * each).view([len, CHANNELS, SIDE, SIDE]);
    (&output * factors).sum(Kind::Float).backward();
    Pass {
        output: output.detach(),
        of_input: x.grad(),
        of_parameters: layer.parameters().iter().map(|tensor| tensor.grad()).collect(),
        statistics: [layer.mean, layer.variance],
    }
}

/// Seen: at most 5e-7 of the largest number in fp32, and 1.3e-2 in bf16, whose last bit is 8e-3 of a number.
#[test]
fn any_shares_make_what_one_process_makes_of_the_whole_batch() {
    for (is_short, tolerance) in [(false, 5e-6), (true, 3e-2)] {
        for (shares, is_channels_last) in SHARES.iter().flat_map(|shares| [(*shares, false), (*shares, true)])
        {
            let whole = pass(0, shares.iter().sum(), is_channels_last, is_short, None);
            let parts = ranks(shares.len(), move |rank| {
                let group = rank.form("norm").unwrap();
                let first = shares[..rank.rank].iter().sum();
                pass(first, shares[rank.rank], is_channels_last, is_short, Some(&group))
            });
            let close = |what: &str, ours: &Tensor, theirs: &Tensor| {
                let apart = max_difference(ours, theirs) / theirs.abs().max().double_value(&[]);
                let case = format!("{what} of {shares:?}, {is_channels_last} {is_short}");
                assert!(apart <= tolerance, "{case}: {apart:.1e}");
            };
            let together =
                |of: fn(&Pass) -> &Tensor| Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), 0);
            close("output", &together(|pass| &pass.output), &whole.output);
            close("gradient", &together(|pass| &pass.of_input), &whole.of_input);
            for (i, theirs) in whole.of_parameters.iter().enumerate() {
                let ours: Tensor = parts.iter().map(|pass| &pass.of_parameters[i]).sum();
                close(["kernel", "weight", "bias"][i], &ours, theirs);
            }
            for (i, theirs) in whole.statistics.iter().enumerate() {
                close(["mean", "variance"][i], &parts[0].statistics[i], theirs);
                let first = bits(&parts[0].statistics[i]);
                assert!(parts.iter().all(|pass| bits(&pass.statistics[i]) == first), "{shares:?}");
            }
        }
    }
}

/// Sums of squares would lose all of it: that of 1000 ± 0.5 is known to within 0.06.
#[test]
fn a_level_far_from_0_leaves_the_variance_as_it_is() {
    for rank in ranks(2, |rank| {
        let group = rank.form("norm").unwrap();
        let layer = Layer::new(1, 3);
        let x = noise(100 * rank.rank as i64, 60).view([3, CHANNELS, 4]) + 1000.0;
        let (mean, variance) = (&layer.mean, &layer.variance);
        let _ = synced_batch_norm(&group, &x, &layer.weight, &layer.bias, mean, variance, EPS).unwrap();
        (x.to_kind(Kind::Double), layer.variance.to_kind(Kind::Double))
    })
    .chunks(2)
    {
        let all = Tensor::cat(&[&rank[0].0, &rank[1].0], 0);
        let expected = all.var_dim([0, 2].as_slice(), true, false);
        let apart = ((&rank[0].1 - &expected) / &expected).abs().max().double_value(&[]);
        assert!(apart < 1e-3, "{apart:.1e}");
    }
}

/// What no rank has any sample of is normalised to nothing, and what has one number to that of the bias.
#[test]
fn of_next_to_nothing_there_is_no_nan() {
    for len in [0, 1] {
        ranks(2, move |rank| {
            let group = rank.form("norm").unwrap();
            let (layer, len) = (Layer::new(1, 3), if rank.rank == 0 { len } else { 0 });
            let x = noise(0, len * CHANNELS).view([len, CHANNELS]).set_requires_grad(true);
            let (mean, variance) = (&layer.mean, &layer.variance);
            let y = synced_batch_norm(&group, &x, &layer.weight, &layer.bias, mean, variance, EPS).unwrap();
            (&y * 2.0).sum(Kind::Float).backward();
            assert_eq!(
                (y.size(), max_difference(variance, &variance.zeros_like())),
                (vec![len, CHANNELS], 0.0)
            );
            assert_eq!(
                layer.bias.grad(),
                Tensor::full([CHANNELS], 2.0 * len as f64, (Kind::Float, Device::Cpu))
            );
            assert!(len == 0 || max_difference(&y.view([CHANNELS]), &layer.bias) < 1e-5);
            assert!(len == 0 || x.grad().abs().max().double_value(&[]) < 1e-3, "{}", x.grad());
        });
    }
}

/// Layers one after another, and two beside one another, as in a block that changes its shape.
struct Network([Layer; 3]);

impl Network {
    fn new() -> Self {
        Self([Layer::new(1, 3), Layer::new(2, CHANNELS), Layer::new(3, CHANNELS)])
    }

    /// Summed over the samples.
    fn loss(&self, x: &Tensor, group: Option<&GlooGroup>) -> lockstep_c10d::Result<Tensor> {
        let x = self.0[0].forward(x, group)?.relu_();
        let sum = self.0[1].forward(&x, group)? + self.0[2].forward(&x, group)?;
        Ok(sum.tanh().sum(Kind::Float))
    }

    fn parameters(&self) -> Parameters {
        let all = self.0.iter().flat_map(Layer::parameters).enumerate();
        Parameters::new(all.map(|(i, tensor)| (format!("{i}"), tensor.shallow_clone())).collect()).unwrap()
    }

    fn gradients(&self) -> Vec<Tensor> {
        self.0.iter().flat_map(Layer::parameters).map(|tensor| tensor.grad().copy()).collect()
    }
}

/// A reducer whose buckets hold a parameter each, so that most are on their way while layers wait for one another.
fn reducer(rank: &Rank, network: &Network) -> (GlooGroup, Reducer) {
    let group = rank.form("gradients").unwrap();
    let params = network.parameters();
    let plan = BucketPlan::new(&params.sizes().unwrap(), 16, 16).unwrap();
    assert_eq!(plan.buckets().len(), 9);
    let reducer = Reducer::new(&group, &params, &plan).unwrap();
    (group, reducer)
}

/// Two micro batches a step; the ranks come at different times. Seen: 2e-6 of the largest number.
#[test]
fn a_reducer_averages_beside_it() {
    const SHARES: [[i64; 4]; 2] = [[2, 0, 3, 1], [1, 2, 0, 0]];
    const STEPS: i64 = 3;
    let each: i64 = SHARES.iter().flatten().sum();
    for world_size in [2, 4] {
        // Whoever is not there gives its samples to the last rank.
        let share = move |of: [i64; 4], rank: usize| match rank + 1 == world_size {
            true => of[rank..].iter().sum(),
            false => of[rank],
        };
        let found = ranks(world_size, move |rank| {
            let (network, norm) = (Network::new(), rank.form("norm").unwrap());
            let (_group, mut reducer) = reducer(&rank, &network);
            let step = |step: i64| {
                network.parameters().zero_grad().unwrap();
                let mut first = step * each;
                for (i, of) in SHARES.into_iter().enumerate() {
                    let mine = first + (0..rank.rank).map(|rank| share(of, rank)).sum::<i64>();
                    let x = pictures(mine, share(of, rank.rank), true);
                    std::thread::sleep(Duration::from_millis((rank.rank as u64 * 5 + step as u64 * 7) % 11));
                    let loss = network.loss(&x, Some(&norm)).unwrap() * world_size as f64;
                    match i {
                        0 => reducer.accumulate(&loss).unwrap(),
                        _ => drop(reducer.backward(&loss).unwrap()),
                    }
                    first += of.iter().sum::<i64>();
                }
                network.gradients()
            };
            (0..STEPS).map(step).collect::<Vec<_>>()
        });
        for step in 0..STEPS {
            let network = Network::new();
            let mut first = step * each;
            for of in SHARES {
                let len = of.iter().sum();
                network.loss(&pictures(first, len, true), None).unwrap().backward();
                first += len;
            }
            for (i, theirs) in network.gradients().iter().enumerate() {
                let ours: Vec<_> = found.iter().map(|steps| &steps[step as usize][i]).collect();
                let apart = max_difference(ours[0], theirs) / theirs.abs().max().double_value(&[]);
                assert!(apart < 1e-5, "parameter {i} of {world_size} ranks: {apart:.1e}");
                assert!(ours.iter().all(|tensor| bits(tensor) == bits(ours[0])));
            }
        }
    }
}

#[test]
fn a_rank_that_went_away_is_a_lost_peer_in_every_pass() {
    for at in ["forward", "accumulate", "backward"] {
        ranks(2, move |rank| {
            let (network, norm) = (Network::new(), rank.form("norm").unwrap());
            let (group, mut reducer) = reducer(&rank, &network);
            // Who leaves while the other connects is a lost peer already.
            norm.barrier(support::DEADLINE).unwrap();
            let forward = || network.loss(&pictures(rank.rank as i64, 1, true), Some(&norm));
            let error = match (at, rank.rank) {
                ("forward", 1) => return,
                ("forward", _) => forward().map(drop),
                (_, 1) => return drop(forward().unwrap()),
                ("accumulate", _) => reducer.accumulate(&forward().unwrap()),
                _ => reducer.backward(&forward().unwrap()).map(drop),
            };
            assert!(matches!(error, Err(Error::PeerLost { .. })), "{at}: {error:?}");
            assert!(norm.aborted().is_some(), "{at}");
            assert!(at == "forward" || group.aborted().is_some(), "{at}");
            let again = network.loss(&pictures(0, 1, true), Some(&norm));
            assert!(matches!(again, Err(Error::Aborted { .. })), "{again:?}");
        });
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let of = |x: &Tensor, layer: &Layer, group: &GlooGroup| {
        synced_batch_norm(group, x, &layer.weight, &layer.bias, &layer.mean, &layer.variance, EPS)
    };
    ranks(1, move |rank| {
        let (norm, layer) = (rank.form("norm").unwrap(), Layer::new(1, 3));
        let float = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        let refused = [
            of(&float(&[5]), &layer, &norm),
            of(&float(&[2, 0, 3]), &layer, &norm),
            of(&float(&[2, 4, 3]), &layer, &norm),
            of(&float(&[2, 5, 3]).to_kind(Kind::Double), &layer, &norm),
            of(&float(&[2, 5, 3]), &Layer { mean: float(&[1]), ..Layer::new(1, 3) }, &norm),
        ];
        assert!(refused.iter().all(|result| matches!(result, Err(Error::Invalid { .. }))), "{refused:?}");

        let x = noise(0, 30).view([2, CHANNELS, 3]).set_requires_grad(true);
        let y = of(&x, &layer, &norm).unwrap().square().sum(Kind::Float);
        let again = Tensor::f_run_backward(&[y], &[&x], true, true).unwrap_err();
        assert!(again.to_string().contains("no second derivative"), "{again}");

        // The reducer's own group is held by the reducer.
        let network = Network::new();
        let (group, mut reducer) = reducer(&rank, &network);
        let loss = network.loss(&pictures(0, 2, true), Some(&group)).unwrap();
        let error = reducer.backward(&loss).unwrap_err();
        assert!(
            matches!(&error, Error::Torch { message, .. } if message.contains("a group of its own")),
            "{error}"
        );
    });
}
