//! A loss that libtorch has no kernel for.

use tch::Tensor;

use crate::ffi::{self, check, raw};
use crate::{Error, Result};

/// Cross entropy of the logits `hidden · headᵀ`, summed over all rows; 0, but with a graph, where there are none. Where gradients
/// are recorded, theirs is computed along with it, for a part of the rows at a time, so that logits and probabilities of all rows
/// are never there at once.
///
/// Of the head, whose last rows may only pad it, the first `vocab` rows have a logit; the gradient of the others is zero. Under an
/// [`Autocast`](crate::Autocast) products are in its kind; sums and probabilities are `f32` in any case.
///
/// Shapes: `hidden` `[N, W]`, `head` `[V, W]` with V at least `vocab`, `targets` `[N]` of `i64` in `0..vocab`.
///
/// # Errors
/// [`Error::Invalid`] on a size that is none, [`Error::Torch`] where shapes don't fit or a target is out of bounds.
///
/// Source: the operations of libtorch's `log_softmax` and `nll_loss`, in parts as in Hsu and others, Liger Kernel (2024).
pub fn linear_cross_entropy(
    hidden: &Tensor,
    head: &Tensor,
    targets: &Tensor,
    vocab: i64,
    rows: i64,
) -> Result<Tensor> {
    const NAME: &str = "linear_cross_entropy";
    if !hidden.defined() || !head.defined() || !targets.defined() {
        return Err(Error::invalid(NAME, "a tensor is undefined"));
    }
    let mut loss = std::ptr::null_mut();
    // SAFETY: three live tensors; the place is written on success.
    let code =
        unsafe { ffi::ls_linear_cross_entropy(raw(hidden), raw(head), raw(targets), vocab, rows, &mut loss) };
    check(code).map_err(|raised| raised.torch(NAME))?;
    // SAFETY: on success it is a new tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(loss) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Autocast;
    use tch::{Device, Kind, Reduction};

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// The loss and both gradients, of a mean over the rows.
    fn of(loss: impl FnOnce(&Tensor, &Tensor) -> Tensor, hidden: &Tensor, head: &Tensor) -> Vec<Tensor> {
        let leaf = |tensor: &Tensor| tensor.detach().copy().set_requires_grad(true);
        let (hidden, head) = (leaf(hidden), leaf(head));
        let loss = loss(&hidden, &head) / 7.0;
        let gradients = Tensor::run_backward(&[&loss], &[&hidden, &head], false, false);
        [loss.detach()].into_iter().chain(gradients).collect()
    }

    fn plain(hidden: &Tensor, head: &Tensor, targets: &Tensor, vocab: i64) -> Tensor {
        let logits = hidden.linear(head, None::<&Tensor>).narrow(1, 0, vocab);
        logits.cross_entropy_loss(targets, None::<&Tensor>, Reduction::Sum, -100, 0.0)
    }

    #[test]
    fn it_is_libtorchs_own_in_any_number_of_parts_and_kinds() {
        let (hidden, head) = (Tensor::randn([15, 8], CPU), Tensor::randn([64, 8], CPU));
        let targets = Tensor::arange(15, (Kind::Int64, Device::Cpu));
        for (low, within) in [(false, 1e-6), (true, 1e-2)] {
            let _low = low.then(|| Autocast::begin(Device::Cpu, Kind::BFloat16).unwrap());
            let expected = of(|x, w| plain(x, w, &targets, 50), &hidden, &head);
            for rows in [1, 4, 15, 1000] {
                let found =
                    of(|x, w| linear_cross_entropy(x, w, &targets, 50, rows).unwrap(), &hidden, &head);
                for (a, b) in expected.iter().zip(&found) {
                    assert_eq!(a.kind(), b.kind());
                    let size = f64::try_from(a.abs().max()).unwrap();
                    assert!(a.allclose(b, 0.0, within * size, false), "{low} {rows}: {a} {b}");
                }
                assert_eq!(f64::try_from(found[2].narrow(0, 50, 14).abs().max()).unwrap(), 0.0, "padding");
            }
        }
    }

    #[test]
    fn nothing_has_no_loss_and_a_gradient_of_zero() {
        let (hidden, head) = (Tensor::zeros([0, 8], CPU), Tensor::randn([64, 8], CPU));
        let targets = Tensor::zeros([0], (Kind::Int64, Device::Cpu));
        let found = of(|x, w| linear_cross_entropy(x, w, &targets, 50, 4).unwrap(), &hidden, &head);
        assert_eq!((f64::try_from(&found[0]).unwrap(), found[1].size()), (0.0, vec![0, 8]));
        assert_eq!(found[2], head.zeros_like());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (hidden, head) = (Tensor::zeros([2, 8], CPU), Tensor::zeros([64, 8], CPU));
        let targets = |values: &[i64]| Tensor::from_slice(values);
        let refused = [
            linear_cross_entropy(&hidden, &head, &targets(&[1]), 50, 4),
            linear_cross_entropy(&hidden, &head.narrow(1, 0, 4), &targets(&[1, 2]), 50, 4),
            linear_cross_entropy(&hidden, &head, &targets(&[1, 50]), 50, 4),
            linear_cross_entropy(&hidden, &head, &targets(&[1, 2]), 65, 4),
            linear_cross_entropy(&hidden, &head, &targets(&[1, 2]), 50, 0),
        ];
        assert!(refused.iter().all(|result| matches!(result, Err(Error::Torch { .. }))), "{refused:?}");
    }
}
