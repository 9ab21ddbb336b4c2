//! Sums that are kept on the device until somebody looks.

use crate::Result;
use tch::{Kind, Tensor};

/// Above this many scalars in waiting they are folded into one, so that a long interval holds no memory.
const MAX_PENDING: usize = 1024;

/// Adds up scalar tensors in double precision without asking the device for a number.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pending: Vec<Tensor>,
}

impl Sum {
    /// Takes in scalars that no graph hangs on.
    pub(crate) fn add(&mut self, values: impl IntoIterator<Item = Tensor>) -> Result<()> {
        self.pending.extend(values);
        if self.pending.len() > MAX_PENDING {
            let folded = self.fold()?;
            self.pending.push(folded);
        }
        Ok(())
    }

    /// The sum so far, which starts anew at zero. Waits for the device.
    pub(crate) fn take(&mut self) -> Result<f64> {
        if self.pending.is_empty() {
            return Ok(0.0);
        }
        Ok(self.fold()?.f_double_value(&[])?)
    }

    fn fold(&mut self) -> Result<Tensor> {
        let sum = Tensor::f_stack(&self.pending, 0)?.f_sum(Kind::Double)?;
        self.pending.clear();
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_in_double_precision_and_starts_anew() {
        let mut sum = Sum::default();
        for _ in 0..5000 {
            sum.add([Tensor::from(0.1f32)]).unwrap();
        }
        assert!((sum.take().unwrap() - 5000.0 * f64::from(0.1f32)).abs() < 1e-9);
        assert_eq!(sum.take().unwrap(), 0.0);
    }
}
