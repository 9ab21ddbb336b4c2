//! Agents' status lines among what workers print.

use crate::samples::at;
use crate::support::{corpus, current};
use lockstep_fuzzing::fuzz_text;
use lockstep_run::link::Phase;
use lockstep_run::segment::{Event, EventKind};
use lockstep_run::{
    Account, Generation, Gpu, GpuOfNode, Line, NodeId, Rank, Report, Saved, Slowdown, SlowestRank, Step,
    StepSeconds,
};
use std::time::Duration;

pub(crate) fn report(loss: f64) -> Report {
    Report {
        step: Step(3),
        total_steps: Step(9),
        epoch: 0.30000000000000004,
        loss: Some(loss),
        lr: Some(1e-300),
        grad_norm: Some(f64::INFINITY),
        loss_scale: Some(0.5),
        samples_per_second: None,
        tokens_per_second: Some(1e6),
        mfu: Some(0.25),
        step_seconds: Some(StepSeconds { data: 0.1, communication: f64::NAN, ..StepSeconds::default() }),
        slowest_rank: Some(SlowestRank { rank: Rank(3), work_seconds: 1e-3 }),
        eval: [("accuracy".to_owned(), 0.5), ("worst".to_owned(), f64::NEG_INFINITY)].into(),
    }
}

pub(crate) fn event() -> Event {
    Event {
        at: at(),
        generation: Generation(2),
        node: Some(NodeId(1)),
        rank: Some(Rank(3)),
        kind: EventKind::Lost,
        text: "rank 3 was killed by SIGKILL\n\u{0}".into(),
        step: Some(Step(7)),
        seconds: Some(1.1),
        uri: Some("s3://b/c".into()),
    }
}

pub(crate) fn gpu() -> Gpu {
    let (index, power, slowed_by) = (Some(3), Some(613), vec![Slowdown::PowerCap, Slowdown::HardwareThermal]);
    Gpu {
        index,
        uuid: "GPU-1".into(),
        name: "NVIDIA H200".into(),
        power,
        xids: vec![79],
        slowed_by,
        ..Gpu::default()
    }
}

pub(crate) fn account() -> Account {
    Account {
        training: Duration::from_secs(1000),
        waiting_for_nodes: Duration::from_millis(100),
        highest: Step(9),
        repeated_steps: 2,
        ..Account::default()
    }
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let (generation, restarts) = (Generation(1), 2);
    let saved = || Some(Saved { step: Step(2), uri: "s3://b/c".into(), at: at() });
    let standing = |progress| Line::Standing {
        generation,
        restarts,
        phase: Phase::Training,
        checkpoint: saved(),
        progress,
    };
    let lines = [
        ("progress", Line::Progress { generation, restarts, checkpoint: saved(), report: report(0.1) }),
        ("nan", Line::Progress { generation, restarts, checkpoint: None, report: report(f64::NAN) }),
        ("standing", standing(Some(report(2.0)))),
        ("command", standing(None)),
        (
            "gpus",
            Line::Gpus {
                generation,
                gpu_seconds: 0.1,
                gpus: vec![GpuOfNode { node: NodeId(1), gpu: gpu() }],
            },
        ),
        ("account", Line::Account { generation, survivors: 3, account: account() }),
        ("event", Line::Event(event())),
        ("waiting", Line::Waiting { reason: "node 1".into(), seconds: 5 }),
        ("log", Line::Log { rank: Rank(0), text: "{\"lockstep\":\"log\"} \u{1b}[0m".into() }),
    ];
    lines.into_iter().map(|(name, line)| (name, line.to_text().into_bytes())).collect()
}

#[test]
fn lines() {
    current("line", &samples());
    fuzz_text("line", &corpus("line", &[]), |data| {
        let text = String::from_utf8_lossy(data);
        let Some(line) = Line::parse(&text) else { return };
        let written = line.to_text();
        assert!(!written.contains('\n'), "one line is several: {written}");
        let read = Line::parse(&written);
        assert_eq!(read.as_ref().map(Line::to_text), Some(written.clone()));
        if !written.contains("\"NaN\"") {
            assert_eq!(read, Some(line));
        }
    });
}
