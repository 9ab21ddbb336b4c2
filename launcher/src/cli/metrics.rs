use crate::plain::plain_line;
use crate::runs::RunArg;
use crate::{Context, Exit, Format, block_on};
use lockstep_run::segment::Metric;
use lockstep_run::{Part, Report};
use std::collections::BTreeSet;

/// Show a run's metrics across all generations since it last started over, one line per logging interval
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,

    /// Print comma-separated values with a header, for spreadsheets and scripts
    #[arg(long)]
    csv: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let metrics = args.run.open().await?.metrics().await?;
        let separator = if args.csv { "," } else { "\t" };
        match context.output.format {
            Format::Json | Format::Yaml => context.output.result(&metrics, String::new)?,
            Format::Text | Format::Wide => context.output.text(&lines(&metrics, separator))?,
        }
        Ok(Exit::Done)
    })
}

/// A number of a report, where it is measured.
type Measured = fn(&Report) -> Option<f64>;

/// Columns of what not every run measures.
const OPTIONAL: [(&str, Measured); 3] = [
    ("tokens_per_second", |report| report.tokens_per_second),
    ("mfu", |report| report.mfu),
    ("loss_scale", |report| report.loss_scale),
];

fn lines(metrics: &[Metric], separator: &str) -> String {
    let names: BTreeSet<&str> =
        metrics.iter().flat_map(|m| m.report.eval.keys().map(String::as_str)).collect();
    // Of those that not every run measures, the ones of which there is any.
    let is_measured = |(_, of): &(&str, Measured)| metrics.iter().any(|m| of(&m.report).is_some());
    let optional: Vec<_> = OPTIONAL.into_iter().filter(is_measured).collect();
    // Runs of older versions have none.
    let parts = if metrics.iter().any(|m| m.report.step_seconds.is_some()) { &Part::ALL[..] } else { &[] };
    let fixed = ["step", "epoch", "loss", "lr", "grad_norm", "samples_per_second", "generation"];
    let mut head = fixed.map(str::to_owned).to_vec();
    head.extend(optional.iter().map(|(name, _)| (*name).to_owned()));
    head.extend(parts.iter().map(|part| format!("step_seconds.{}", part.name())));
    head.extend(names.iter().map(|name| format!("eval.{}", plain_line(name))));
    let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
    let row = |Metric { report, generation, .. }: &Metric| {
        let mut cells = vec![report.step.to_string(), report.epoch.to_string()];
        cells.extend([report.loss, report.lr, report.grad_norm, report.samples_per_second].map(number));
        cells.push(generation.to_string());
        cells.extend(optional.iter().map(|(_, of)| number(of(report))));
        cells.extend(parts.iter().map(|part| number(report.step_seconds.map(|all| all.get(*part)))));
        cells.extend(names.iter().map(|n| number(report.eval.get(*n).copied())));
        cells.join(separator)
    };
    std::iter::once(head.join(separator)).chain(metrics.iter().map(row)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Generation, Step, StepSeconds};

    fn metric(step: u64, loss: Option<f64>, eval: &[(&str, f64)]) -> Metric {
        let eval = eval.iter().map(|(k, v)| (k.to_string(), *v)).collect();
        let report = Report { step: Step(step), epoch: 0.5, loss, eval, ..Report::default() };
        Metric { report, generation: Generation(1), at: jiff::Timestamp::UNIX_EPOCH, gpu_seconds: None }
    }

    #[test]
    fn every_evaluation_has_its_column() {
        let text = lines(&[metric(1, Some(2.5), &[]), metric(2, None, &[("accuracy", 0.5)])], ",");
        let expected = "step,epoch,loss,lr,grad_norm,samples_per_second,generation,eval.accuracy\n1,0.5,2.5,,,,1,\n2,0.5,,,,,1,0.5";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_was_measured_has_its_columns() {
        let mut measured = metric(2, Some(2.5), &[("accuracy", 0.5)]);
        (measured.report.tokens_per_second, measured.report.loss_scale) = (Some(4096.0), Some(65536.0));
        measured.report.mfu = Some(0.375);
        let step_seconds = StepSeconds { data: 0.25, communication: 0.5, ..StepSeconds::default() };
        measured.report.step_seconds = Some(step_seconds);
        let text = lines(&[metric(1, None, &[]), measured], ",");
        let expected = "step,epoch,loss,lr,grad_norm,samples_per_second,generation,tokens_per_second,mfu,loss_scale,\
            step_seconds.data,step_seconds.forward,step_seconds.backward,step_seconds.communication,\
            step_seconds.optimizer,step_seconds.other,eval.accuracy\n\
            1,0.5,,,,,1,,,,,,,,,,\n\
            2,0.5,2.5,,,,1,4096,0.375,65536,0.25,0,0,0.5,0,0,0.5";
        assert_eq!(text, expected);
    }
}
