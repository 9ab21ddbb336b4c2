use lockstep_run::{Activity, Generation, NodeId, Rank, Recorded, Span, Step, Trace, TracedStep};

/// A rank whose steps take 10 ms each from `begin` on: 4 of forward, 5 of backward, 1 of the optimizer; gradients are there
/// after 9. Units: milliseconds by the rank's own clock.
pub(super) fn trace(rank: u32, host: &str, begin: u64, steps: &[u64]) -> Trace {
    let ms = 1_000_000;
    let span = |activity, micro_batch, num: u64| Span { activity, micro_batch, ns: num * ms };
    let first = steps.first().copied().unwrap_or_default();
    let step = |step: &u64| TracedStep {
        step: Step(*step),
        begin_ns: (step - first) * 10 * ms,
        reduced_ns: Some(9 * ms),
        spans: vec![
            span(Activity::Forward, Some(0), 4),
            span(Activity::Backward, Some(0), 5),
            span(Activity::Optimizer, None, 1),
        ],
    };
    let recorded = Recorded { begin_unix_ns: begin * ms, steps: steps.iter().map(step).collect() };
    Trace {
        rank: Rank(rank),
        node: NodeId(rank / 2),
        host: host.to_owned(),
        generation: Generation(1),
        recorded,
    }
}
