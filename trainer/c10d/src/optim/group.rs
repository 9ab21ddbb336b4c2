use tch::Tensor;

use crate::Parameters;

/// Of which parameters weights decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decay {
    /// Of all, as PyTorch's optimizers do it where they are told of one group.
    #[default]
    All,
    /// Of those with two dimensions or more: of no bias, and of no weight of a normalisation.
    Matrices,
}

/// The order in which the kernels take the parameters: those whose weights decay come first.
#[derive(Debug)]
pub(super) struct Order {
    places: Vec<usize>,
    pub(super) num_decaying: usize,
}

impl Order {
    pub(super) fn new(params: &Parameters, decay: Decay) -> Self {
        let decays = |place: &usize| decay == Decay::All || params.tensors()[*place].dim() >= 2;
        let (mut places, rest): (Vec<_>, Vec<_>) = (0..params.tensors().len()).partition(decays);
        let num_decaying = places.len();
        places.extend(rest);
        Self { places, num_decaying }
    }

    /// Tensors of one for each parameter, in this order.
    pub(super) fn of(&self, tensors: &[Tensor]) -> Vec<Tensor> {
        self.places.iter().filter_map(|place| tensors.get(*place)).map(Tensor::shallow_clone).collect()
    }
}
