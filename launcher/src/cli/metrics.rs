use crate::plain::plain_line;
use crate::runs::RunArg;
use crate::{Context, Exit, Format, block_on};
use lockstep_run::segment::Metric;
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

fn lines(metrics: &[Metric], separator: &str) -> String {
    let names: BTreeSet<&str> =
        metrics.iter().flat_map(|m| m.report.eval.keys().map(String::as_str)).collect();
    let fixed = ["step", "epoch", "loss", "lr", "grad_norm", "samples_per_second", "generation"];
    let head =
        fixed.iter().map(ToString::to_string).chain(names.iter().map(|n| format!("eval.{}", plain_line(n))));
    let head = head.collect::<Vec<_>>().join(separator);
    let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
    let row = |Metric { report, generation, .. }: &Metric| {
        let mut cells = vec![report.step.to_string(), report.epoch.to_string()];
        cells.extend([report.loss, report.lr, report.grad_norm, report.samples_per_second].map(number));
        cells.push(generation.to_string());
        cells.extend(names.iter().map(|n| number(report.eval.get(*n).copied())));
        cells.join(separator)
    };
    std::iter::once(head).chain(metrics.iter().map(row)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Generation, Report, Step};

    #[test]
    fn every_evaluation_has_its_column() {
        let metric = |step, loss, eval: &[(&str, f64)]| {
            let eval = eval.iter().map(|(k, v)| (k.to_string(), *v)).collect();
            let report = Report { step: Step(step), epoch: 0.5, loss, eval, ..Report::default() };
            Metric { report, generation: Generation(1), at: jiff::Timestamp::UNIX_EPOCH }
        };
        let text = lines(&[metric(1, Some(2.5), &[]), metric(2, None, &[("accuracy", 0.5)])], ",");
        let expected = "step,epoch,loss,lr,grad_norm,samples_per_second,generation,eval.accuracy\n1,0.5,2.5,,,,1,\n2,0.5,,,,,1,0.5";
        assert_eq!(text, expected);
    }
}
