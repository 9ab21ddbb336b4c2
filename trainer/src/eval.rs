use crate::data::EvalSource;
use crate::meter::Sum;
use crate::rank::World;
use crate::task::{Batch, Model, TaskError};
use crate::{Error, Result};
use lockstep_run::Step;
use std::collections::BTreeMap;
use tch::Device;

/// Means over all items of all ranks, of the loss and of each metric.
///
/// Sums are added in double precision and divided once, so the result doesn't depend on how samples were dealt.
///
/// Collective: all ranks, after the same step.
pub(crate) fn evaluate(
    model: &dyn Model,
    source: &mut dyn EvalSource,
    empty: &Batch,
    device: Device,
    world: &World,
    step: Step,
) -> Result<BTreeMap<String, f64>> {
    let _no_grad = tch::no_grad_guard();
    let failed = |source: TaskError| Error::Task { rank: world.rank(), step, source };
    let mut items = 0;
    let mut sums: Vec<(&'static str, Sum)> = Vec::new();
    let mut take = |batch: &Batch| -> Result<()> {
        let moved = batch.moved_to(device)?;
        let batch = moved.as_ref().unwrap_or(batch);
        let outputs = model.predict(batch).map_err(failed)?;
        let score = model.score(&outputs, batch).map_err(failed)?;
        let values = [("loss", score.loss)].into_iter().chain(score.metrics);
        for (i, (name, value)) in values.enumerate() {
            if i == sums.len() {
                sums.push((name, Sum::default()));
            }
            sums[i].1.add([value])?;
        }
        items += model.items(batch).map_err(failed)?.of(batch.len());
        Ok(())
    };
    // A rank that gets no sample must know the metrics all the same.
    take(empty)?;
    for batch in source.batches()? {
        take(&batch?)?;
    }
    let mut values = vec![items as f64];
    for (_, sum) in &mut sums {
        values.push(sum.take()?);
    }
    let totals = world.sum("evaluation", step, &values)?;
    let means = totals[1..].iter().map(|total| total / totals[0]);
    Ok(sums.iter().map(|(name, _)| (*name).to_owned()).zip(means).collect())
}
