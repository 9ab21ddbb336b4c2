//! Layers that several models are made of, with the names and the initial values of PyTorch's.

use crate::rank::{Peers, Running, Tracked};
use crate::task::TaskError;
use lockstep_c10d::synced_batch_norm;
use lockstep_job as job;
use tch::{Tensor, nn};

/// Weight `[out, in]` and bias `[out]`, both uniform in ±1/√in as in `torch.nn.Linear`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(super) fn new(path: &nn::Path<'_>, num_inputs: i64, num_outputs: i64) -> Result<Self, TaskError> {
        let bound = 1.0 / (num_inputs as f64).sqrt();
        Ok(Self {
            weight: path.f_uniform("weight", &[num_outputs, num_inputs], -bound, bound)?,
            bias: path.f_uniform("bias", &[num_outputs], -bound, bound)?,
        })
    }

    /// Multiplications for one input.
    pub(super) fn num_weights(&self) -> usize {
        self.weight.numel()
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TaskError> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// A convolution with a square kernel, padded to keep the size but for the stride, without a bias. Its weight
/// `[out, in, kernel, kernel]` is normal with variance 2 / (out kernel²), as He and others derive it for ReLU.
#[derive(Debug)]
pub(super) struct Conv {
    weight: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv {
    pub(super) fn new(
        path: &nn::Path<'_>,
        num_inputs: i64,
        num_outputs: i64,
        kernel: i64,
        stride: i64,
    ) -> Result<Self, TaskError> {
        let deviation = (2.0 / (num_outputs * kernel * kernel) as f64).sqrt();
        let weight = path.f_randn("weight", &[num_outputs, num_inputs, kernel, kernel], 0.0, deviation)?;
        Ok(Self { weight, stride, padding: kernel / 2 })
    }

    /// Shapes: `[len, in, height, width]` to `[len, out, height / stride, width / stride]`, rounded up.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TaskError> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&self.weight, None::<&Tensor>, stride, padding, [1, 1], 1)?)
    }
}

/// Batch normalisation of images. While training each rank normalises by its own micro batch, as PyTorch's DDP does, or all by theirs
/// together; the running statistics are those of all ranks in any case.
#[derive(Debug)]
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tracked,
    variance: Tracked,
    /// With whom it is synchronised.
    peers: Option<Peers>,
}

const BATCH_NORM_EPS: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

impl BatchNorm {
    /// `scale` is the initial weight.
    pub(super) fn new(
        path: &nn::Path<'_>,
        running: &Running,
        num_channels: i64,
        scale: f64,
        form: job::BatchNorm,
    ) -> Result<Self, TaskError> {
        let shape = [num_channels];
        let track = |name, initial| running.track(path, name, &shape, initial, BATCH_NORM_MOMENTUM);
        Ok(Self {
            weight: path.f_var("weight", &shape, nn::Init::Const(scale))?,
            bias: path.f_zeros("bias", &shape)?,
            mean: track("running_mean", 0.0)?,
            variance: track("running_var", 1.0)?,
            peers: (form == job::BatchNorm::Synced).then(|| running.peers()),
        })
    }

    /// Shape: `[len, channels, height, width]`, before and after.
    ///
    /// Collective where it is synchronised and trains, as is its backward pass: also over no samples, whose ranks take part.
    pub(super) fn forward(&self, x: &Tensor, is_training: bool) -> Result<Tensor, TaskError> {
        let staged = (&self.mean.staged, &self.variance.staged);
        if is_training && let Some(group) = self.peers.as_ref().and_then(Peers::group) {
            let (weight, bias) = (&self.weight, &self.bias);
            return Ok(synced_batch_norm(
                group.as_ref(),
                x,
                weight,
                bias,
                staged.0,
                staged.1,
                BATCH_NORM_EPS,
            )?);
        }
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let norm = |mean: &Tensor, variance: &Tensor, is_training, momentum| {
            x.f_batch_norm(
                weight,
                bias,
                Some(mean),
                Some(variance),
                is_training,
                momentum,
                BATCH_NORM_EPS,
                true,
            )
        };
        // Of no samples there are no statistics; the running ones normalise nothing, and parameters stay in the graph.
        Ok(match is_training && x.size()[0] > 0 {
            // With a momentum of 1 libtorch leaves just this batch's statistics there.
            true => norm(staged.0, staged.1, true, 1.0)?,
            false => norm(&self.mean.value, &self.variance.value, false, 0.0)?,
        })
    }
}
