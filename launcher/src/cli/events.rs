use crate::cluster::{self, LogWish};
use crate::plain::plain_line;
use crate::runs::{Run, RunArg};
use crate::{Context, Exit, block_on};
use jiff::tz::TimeZone;
use lockstep_run::Line;
use lockstep_run::segment::{Event, EventKind};

/// Show what happened to a run, in order of time
///
/// On a cluster, this includes the cluster's own warnings, such as a pod that can't be scheduled or an image that can't be
/// pulled.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArg,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    block_on(async {
        let events = match args.run.find().await? {
            Run::Stored(dir) => dir.events().await?,
            Run::OnCluster(run) => {
                let lines = cluster::logs(&run.cluster, &run.name, LogWish::default()).await?;
                let event = |text: &str| match Line::parse(text) {
                    Some(Line::Event(event)) => Some(event),
                    _ => None,
                };
                let mut events: Vec<_> = lines.iter().filter_map(|line| event(&line.text)).collect();
                events.extend(cluster::warnings(&run).await?);
                events.sort_by_key(|event| event.at);
                events
            }
        };
        context.output.result(&events, || events.iter().map(line).collect::<Vec<_>>().join("\n"))?;
        Ok(Exit::Done)
    })
}

fn line(event: &Event) -> String {
    let time = event.at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string();
    let place = match (event.node, event.rank) {
        (_, Some(rank)) => format!("rank {rank}"),
        (Some(node), None) => format!("node {node}"),
        (None, None) if event.kind == EventKind::Cluster => "cluster".to_owned(),
        (None, None) => format!("generation {}", event.generation),
    };
    format!("{time}  {place:14}  {}", plain_line(&event.text))
}
