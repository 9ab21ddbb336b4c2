use lockstep_run::{Step, Trace, TracedStep};
use std::collections::BTreeMap;

/// What is added to each host's clock, in nanoseconds; none where nothing tells how far it is off.
pub(crate) type Shifts = BTreeMap<String, Option<i128>>;

/// Aligns the clocks of the hosts with that of the first trace.
///
/// The average of all ranks' gradients is there at the same moment on each of them, but for the time that the last message
/// takes. So the median over the steps of how far those moments are apart is how far the clocks are apart. Ranks of one host
/// share its clock, and nothing is shifted between them.
pub(crate) fn shifts(traces: &[Trace]) -> Shifts {
    let Some(first) = traces.first() else { return Shifts::new() };
    let reference = reduced(traces, &first.host);
    let hosts = traces.iter().map(|trace| &trace.host);
    let shift = |host: &String| {
        if *host == first.host {
            return Some(0);
        }
        let own = reduced(traces, host);
        let apart = own.iter().filter_map(|(step, at)| Some(reference.get(step)? - at));
        median(apart.collect())
    };
    hosts.map(|host| (host.clone(), shift(host))).collect()
}

/// When a host's ranks had the average of each step, by its own clock.
fn reduced(traces: &[Trace], host: &str) -> BTreeMap<Step, i128> {
    let mut all: BTreeMap<Step, Vec<i128>> = BTreeMap::new();
    for trace in traces.iter().filter(|trace| trace.host == host) {
        for step in &trace.recorded.steps {
            if let Some(reduced) = step.reduced_ns {
                all.entry(step.step).or_default().push(begin(trace, step) + i128::from(reduced));
            }
        }
    }
    all.into_iter().filter_map(|(step, ends)| Some((step, median(ends)?))).collect()
}

/// When a step began, in nanoseconds since 1970 by its rank's own clock.
pub(super) fn begin(trace: &Trace, step: &TracedStep) -> i128 {
    i128::from(trace.recorded.begin_unix_ns) + i128::from(step.begin_ns)
}

fn median(mut values: Vec<i128>) -> Option<i128> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::samples::trace;
    use super::*;

    const MS: i128 = 1_000_000;

    fn of(shifts: &Shifts, host: &str) -> Option<i128> {
        shifts[host].map(|ns| ns / MS)
    }

    #[test]
    fn clocks_are_aligned_by_the_end_of_the_same_reductions() {
        // The second host's clock is 500 ms ahead, and its ranks began two steps later.
        let traces = [trace(0, "a", 1000, &[5, 6, 7, 8]), trace(2, "b", 1520, &[7, 8, 9])];
        let shifts = shifts(&traces);
        assert_eq!((of(&shifts, "a"), of(&shifts, "b")), (Some(0), Some(-500)));
    }

    #[test]
    fn one_late_message_moves_nothing() {
        let mut late = trace(2, "b", 1500, &[5, 6, 7]);
        late.recorded.steps[1].reduced_ns = Some(90_000_000);
        assert_eq!(of(&shifts(&[trace(0, "a", 1000, &[5, 6, 7]), late]), "b"), Some(-500));
    }

    #[test]
    fn ranks_of_one_host_keep_the_clock_that_they_share() {
        let traces = [trace(0, "a", 1000, &[5, 6, 7]), trace(1, "a", 1003, &[5, 6, 7])];
        assert_eq!(shifts(&traces).into_iter().collect::<Vec<_>>(), [("a".to_owned(), Some(0))]);
    }

    #[test]
    fn without_a_common_step_nobody_can_tell() {
        let mut none = trace(4, "c", 1000, &[5]);
        none.recorded.steps[0].reduced_ns = None;
        let traces = [trace(0, "a", 1000, &[5]), trace(2, "b", 1500, &[6]), none];
        let shifts = shifts(&traces);
        assert_eq!((of(&shifts, "b"), of(&shifts, "c")), (None, None));
    }
}
