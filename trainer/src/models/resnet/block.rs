use super::super::layers::{BatchNorm, Conv};
use crate::rank::Running;
use crate::task::TaskError;
use lockstep_job::Resnet;
use tch::{Tensor, nn};

/// What the blocks of a network are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) kind: Kind,
    /// How a shortcut changes its shape: by a convolution of its own, or by leaving out pixels and adding empty channels,
    /// which takes no parameters (the paper's options B and A).
    pub(super) projects: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Two convolutions of 3 x 3.
    Basic,
    /// 1 x 1 to fewer channels, 3 x 3, and 1 x 1 to four times as many.
    Bottleneck,
}

impl Form {
    /// Channels that leave a block whose inner ones are `width`.
    pub(super) fn outputs(self, width: i64) -> i64 {
        match self.kind {
            Kind::Basic => width,
            Kind::Bottleneck => 4 * width,
        }
    }
}

/// A residual block: convolutions, each with a normalisation, beside a shortcut.
#[derive(Debug)]
pub(super) struct Block {
    branch: Vec<(Conv, BatchNorm)>,
    shortcut: Shortcut,
}

#[derive(Debug)]
enum Shortcut {
    Same,
    Projected(Conv, BatchNorm),
    Padded { stride: i64, more: i64 },
}

impl Block {
    pub(super) fn new(
        path: &nn::Path<'_>,
        running: &Running,
        form: Form,
        inputs: i64,
        width: i64,
        stride: i64,
        model: &Resnet,
    ) -> Result<Self, TaskError> {
        let outputs = form.outputs(width);
        // Inputs, outputs, kernel and stride of each convolution.
        let convs = match form.kind {
            Kind::Basic => vec![(inputs, width, 3, stride), (width, outputs, 3, 1)],
            Kind::Bottleneck => {
                vec![(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
            }
        };
        let last = convs.len() - 1;
        let mut branch = Vec::with_capacity(convs.len());
        for (i, (inputs, outputs, kernel, stride)) in convs.into_iter().enumerate() {
            let conv = Conv::new(&(path / format!("conv{}", i + 1)), inputs, outputs, kernel, stride)?;
            let scale = if model.zero_init_residual && i == last { 0.0 } else { 1.0 };
            let norm =
                BatchNorm::new(&(path / format!("bn{}", i + 1)), running, outputs, scale, model.batch_norm)?;
            branch.push((conv, norm));
        }
        let shortcut = match (stride == 1 && inputs == outputs, form.projects) {
            (true, _) => Shortcut::Same,
            (false, true) => {
                let path = path / "downsample";
                let conv = Conv::new(&(&path / 0), inputs, outputs, 1, stride)?;
                let norm = BatchNorm::new(&(&path / 1), running, outputs, 1.0, model.batch_norm)?;
                Shortcut::Projected(conv, norm)
            }
            (false, false) => Shortcut::Padded { stride, more: outputs - inputs },
        };
        Ok(Self { branch, shortcut })
    }

    pub(super) fn forward(&self, input: &Tensor, is_training: bool) -> Result<Tensor, TaskError> {
        let mut x = input.shallow_clone();
        for (i, (conv, norm)) in self.branch.iter().enumerate() {
            x = norm.forward(&conv.forward(&x)?, is_training)?;
            if i + 1 < self.branch.len() {
                x = x.f_relu_()?;
            }
        }
        let shortcut = match &self.shortcut {
            Shortcut::Same => input.shallow_clone(),
            Shortcut::Projected(conv, norm) => norm.forward(&conv.forward(input)?, is_training)?,
            Shortcut::Padded { stride, more } => {
                let fewer = input.f_slice(2, None, None, *stride)?.f_slice(3, None, None, *stride)?;
                fewer.f_constant_pad_nd([0, 0, 0, 0, more / 2, more - more / 2])?
            }
        };
        Ok(x.f_add_(&shortcut)?.f_relu_()?)
    }
}
