//! Running averages of parameters.

use tch::Tensor;

use crate::ffi::{self, check, raw, raw_list};
use crate::{Error, Parameters, Result};

/// An exponential moving average of all parameters, which remembers about `1 / (1 - decay)` steps. It computes in the parameters' own
/// kind, with a few kernels for all of them together.
#[derive(Debug)]
pub struct WeightAverage {
    decay: f64,
    names: Vec<String>,
    params: Vec<Tensor>,
    averages: Vec<Tensor>,
}

impl WeightAverage {
    /// Begins with the parameters as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the decay isn't at least 0 and below 1.
    pub fn new(params: &Parameters, decay: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            let problem = format!("a decay of {decay} is not at least 0 and below 1");
            return Err(Error::invalid("WeightAverage::new", problem));
        }
        let made = params.tensors().iter().map(|tensor| tensor.f_detach()?.f_empty_like());
        let averages = made.collect::<Result<_, _>>().map_err(|e| Error::torch("WeightAverage::new", e))?;
        let params_of = params.tensors().iter().map(Tensor::shallow_clone).collect();
        let made = Self { decay, names: params.names().to_vec(), params: params_of, averages };
        made.restart()?;
        Ok(made)
    }

    /// Forgets everything: the parameters as they are.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn restart(&self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (average, param) in self.averages.iter().zip(&self.params) {
            average.shallow_clone().f_copy_(param).map_err(|e| Error::torch("WeightAverage::restart", e))?;
        }
        Ok(())
    }

    /// After a step: `average = decay * average + (1 - decay) * parameter`. Where `skip` holds 1, averages stay as they are;
    /// nobody waits for the device.
    ///
    /// # Errors
    /// What libtorch says; nothing has changed where the flag has dimensions.
    pub fn update(&mut self, skip: &Tensor) -> Result<()> {
        let (averages, params) = (raw_list(&self.averages), raw_list(&self.params));
        let weight = 1.0 - self.decay;
        // SAFETY: both lists are of the same length, and they and their tensors live through the call.
        let code = unsafe {
            ffi::ls_average_step(averages.as_ptr(), params.as_ptr(), averages.len(), raw(skip), weight)
        };
        check(code).map_err(|raised| raised.torch("WeightAverage::update"))
    }

    /// Exchanges the parameters with their averages, without copying: a model then computes with these. To be called once
    /// more before anything else is done with either.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn swap(&mut self) -> Result<()> {
        let failed = |e| Error::torch("WeightAverage::swap", e);
        for (average, param) in self.averages.iter_mut().zip(&mut self.params) {
            let trained = param.f_detach().map_err(failed)?;
            param.f_set_data(average).map_err(failed)?;
            *average = trained;
        }
        Ok(())
    }

    /// Handles on the averages, under the names of the parameters and in their order.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.names.iter().cloned().zip(self.averages.iter().map(Tensor::shallow_clone)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn parameters() -> Parameters {
        let tensor = |values: &[f32]| Tensor::from_slice(values).set_requires_grad(true);
        Parameters::new(vec![("a".to_owned(), tensor(&[1.0, -2.0])), ("b".to_owned(), tensor(&[4.0]))])
            .unwrap()
    }

    fn set(params: &Parameters, values: [f64; 2]) {
        let _no_grad = tch::no_grad_guard();
        for (tensor, value) in params.tensors().iter().zip(values) {
            let _ = tensor.shallow_clone().fill_(value);
        }
    }

    fn values(average: &WeightAverage) -> Vec<f64> {
        let values =
            |(_, tensor): (String, Tensor)| Vec::<f64>::try_from(tensor.to_kind(Kind::Double)).unwrap();
        average.state().into_iter().flat_map(values).collect()
    }

    fn flag(value: f32) -> Tensor {
        Tensor::from(value).to_device(Device::Cpu)
    }

    #[test]
    fn it_moves_by_the_formula_and_not_where_a_step_is_left_out() {
        let params = parameters();
        let mut average = WeightAverage::new(&params, 0.75).unwrap();
        assert_eq!(values(&average), [1.0, -2.0, 4.0]);
        set(&params, [2.0, 8.0]);
        average.update(&flag(1.0)).unwrap();
        assert_eq!(values(&average), [1.0, -2.0, 4.0]);
        average.update(&flag(0.0)).unwrap();
        assert_eq!(values(&average), [1.25, -1.0, 5.0]);
        average.update(&flag(0.0)).unwrap();
        assert_eq!(values(&average), [1.4375, -0.25, 5.75]);
        average.restart().unwrap();
        assert_eq!(values(&average), [2.0, 2.0, 8.0]);
    }

    #[test]
    fn swapped_twice_everything_is_where_it_was() {
        let params = parameters();
        let mut average = WeightAverage::new(&params, 0.5).unwrap();
        set(&params, [2.0, 8.0]);
        let (weight, at) = (params.tensors()[1].shallow_clone(), params.tensors()[1].data_ptr());
        average.swap().unwrap();
        assert_eq!(weight.double_value(&[0]), 4.0, "a model's own handle sees the average");
        assert!(weight.requires_grad());
        average.swap().unwrap();
        assert_eq!((weight.double_value(&[0]), weight.data_ptr()), (8.0, at));
        assert_eq!(values(&average), [1.0, -2.0, 4.0]);
    }

    #[test]
    fn a_decay_that_keeps_all_or_more_is_refused() {
        for decay in [1.0, 1.5, -0.1, f64::NAN] {
            assert!(
                matches!(WeightAverage::new(&parameters(), decay), Err(Error::Invalid { .. })),
                "{decay}"
            );
        }
    }
}
