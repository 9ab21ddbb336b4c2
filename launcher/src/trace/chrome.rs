use super::Shifts;
use super::align::begin;
use lockstep_run::{Span, Trace, TracedStep};
use serde_json::{Value, json};

/// A file in Chrome's trace event format: a process for each node, a thread for each rank, one slice for each step and in it
/// one for each span. Times are in microseconds since the first step began.
pub(crate) fn chrome(run: &str, traces: &[Trace], shifts: &Shifts) -> Value {
    let shift = |trace: &Trace| shifts.get(&trace.host).copied().flatten().unwrap_or(0);
    let at = |trace: &Trace, step: &TracedStep| begin(trace, step) + shift(trace);
    let all = || traces.iter().flat_map(|trace| trace.recorded.steps.iter().map(move |step| (trace, step)));
    let origin = all().map(|(trace, step)| at(trace, step)).min().unwrap_or(0);
    let mut events: Vec<_> = traces.iter().flat_map(names).collect();
    for (trace, step) in all() {
        let mut since = at(trace, step) - origin;
        let name = format!("step {}", step.step);
        events.push(slice(trace, &name, "step", since, step.ns(), json!({ "step": step.step })));
        for Span { activity, micro_batch, ns } in &step.spans {
            let mut about = json!({ "step": step.step });
            if let Some(micro_batch) = micro_batch {
                about["micro_batch"] = json!(micro_batch);
            }
            events.push(slice(trace, activity.name(), "part", since, *ns, about));
            since += i128::from(*ns);
        }
    }
    let milliseconds = |shift: &Option<i128>| shift.map(|ns| ns as f64 / 1e6);
    let shifted: serde_json::Map<_, _> =
        shifts.iter().map(|(host, shift)| (host.clone(), json!(milliseconds(shift)))).collect();
    let about = json!({ "run": run, "clock_shift_ms": shifted });
    json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": about })
}

fn names(Trace { rank, node, host, .. }: &Trace) -> [Value; 4] {
    let about =
        |name: &str, args: Value| json!({ "ph": "M", "name": name, "pid": node, "tid": rank, "args": args });
    [
        about("process_name", json!({ "name": format!("node {node} ({host})") })),
        about("process_sort_index", json!({ "sort_index": node })),
        about("thread_name", json!({ "name": format!("rank {rank}") })),
        about("thread_sort_index", json!({ "sort_index": rank })),
    ]
}

fn slice(trace: &Trace, name: &str, category: &str, since_ns: i128, ns: u64, about: Value) -> Value {
    json!({
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": trace.node,
        "tid": trace.rank,
        "ts": since_ns as f64 / 1e3,
        "dur": ns as f64 / 1e3,
        "args": about,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{samples::trace, shifts};
    use super::*;

    /// What the slices of a rank are, with when they begin and how long they take, in milliseconds.
    fn slices(file: &Value, rank: u32) -> Vec<(String, f64, f64)> {
        let events = file["traceEvents"].as_array().unwrap();
        let slices = events.iter().filter(|event| event["ph"] == "X" && event["tid"] == rank);
        let ms = |value: &Value| value.as_f64().unwrap() / 1e3;
        slices.map(|s| (s["name"].as_str().unwrap().to_owned(), ms(&s["ts"]), ms(&s["dur"]))).collect()
    }

    #[test]
    fn nodes_are_processes_ranks_are_threads_and_steps_hold_their_spans() {
        let traces = [trace(0, "a", 1000, &[5]), trace(3, "b", 7000, &[5, 6])];
        let file = chrome("digits", &traces, &shifts(&traces));
        let slice = |name: &str, at: f64, took: f64| (name.to_owned(), at, took);
        let step = |name: &str, at: f64| {
            [
                slice(name, at, 10.0),
                slice("forward", at, 4.0),
                slice("backward", at + 4.0, 5.0),
                slice("optimizer", at + 9.0, 1.0),
            ]
        };
        assert_eq!(slices(&file, 0), step("step 5", 0.0));
        assert_eq!(slices(&file, 3), [step("step 5", 0.0), step("step 6", 10.0)].concat());
        let events = file["traceEvents"].as_array().unwrap();
        let named = |name: &str, tid: u32| {
            let event = events.iter().find(|event| event["name"] == name && event["tid"] == tid).unwrap();
            (event["pid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap().to_owned())
        };
        assert_eq!(named("process_name", 3), (1, "node 1 (b)".to_owned()));
        assert_eq!(named("thread_name", 3), (1, "rank 3".to_owned()));
        let forward = events.iter().find(|event| event["name"] == "forward").unwrap();
        assert_eq!(forward["args"], json!({ "step": 5, "micro_batch": 0 }));
        assert_eq!(file["otherData"]["clock_shift_ms"], json!({ "a": 0.0, "b": -6000.0 }));
    }
}
