//! Windows of tokens, checked before anything is computed of them.

use crate::task::{Batch, TaskError};
use tch::{Device, Kind, Tensor};

pub(super) const COLUMN: &str = "tokens";

/// What windows may be, and where they go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub(super) context: i64,
    pub(super) vocab: i64,
    pub(super) device: Device,
}

/// What a model reads, and what comes next.
#[derive(Debug)]
pub(super) struct Tokens {
    /// `[B, T]`
    pub(super) inputs: Tensor,
    /// `[B, T]`
    pub(super) targets: Tensor,
}

impl Windows {
    /// T: how many tokens of a window are read, which is one less than it has.
    ///
    /// # Errors
    /// [`TaskError::Windows`] where the column doesn't hold whole numbers of shape `[len, T + 1]`, [`TaskError::Context`]
    /// where T is more than the model can read.
    pub(super) fn length(&self, batch: &Batch) -> Result<i64, TaskError> {
        let tokens = batch.column(COLUMN)?;
        let (kind, size) = (tokens.f_kind()?, tokens.size());
        let is_whole = matches!(kind, Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64);
        match *size.as_slice() {
            [_, held] if is_whole && held > 1 && held - 1 > self.context => {
                Err(TaskError::Context { length: held - 1, context: self.context })
            }
            [_, held] if is_whole && held > 1 => Ok(held - 1),
            _ => Err(TaskError::Windows { column: COLUMN, found: format!("{kind:?}{size:?}") }),
        }
    }

    /// The windows of a batch, on the model's device.
    ///
    /// # Errors
    /// As [`Self::length`]; [`TaskError::Token`] names the first token that there isn't. A GPU would only say, and later,
    /// that some index of some kernel was out of bounds, and be of no use from then on.
    pub(super) fn tokens(&self, batch: &Batch) -> Result<Tokens, TaskError> {
        let length = self.length(batch)?;
        let seen = batch.on_host(COLUMN)?.f_to_kind(Kind::Int64)?;
        if seen.numel() > 0
            && (seen.f_min()?.f_int64_value(&[])? < 0 || seen.f_max()?.f_int64_value(&[])? >= self.vocab)
        {
            return Err(self.first_bad(batch, &seen)?);
        }
        let all = if batch.is_moved() { batch.column(COLUMN)?.f_to_kind(Kind::Int64)? } else { seen };
        let all = all.f_to_device(self.device)?;
        Ok(Tokens { inputs: all.f_narrow(1, 0, length)?, targets: all.f_narrow(1, 1, length)? })
    }

    fn first_bad(&self, batch: &Batch, all: &Tensor) -> Result<TaskError, TaskError> {
        let bad = all.f_lt(0)?.f_logical_or(&all.f_ge(self.vocab)?)?.f_nonzero()?;
        let (row, place) = (bad.f_int64_value(&[0, 0])?, bad.f_int64_value(&[0, 1])?);
        let sample = batch.samples().get(row.cast_unsigned() as usize).copied().unwrap_or_default();
        let token = all.f_int64_value(&[row, place])?;
        Ok(TaskError::Token { sample, place, token, vocab: self.vocab })
    }
}
