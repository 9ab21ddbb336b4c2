//! TensorBoard's event files: protobuf messages in length-prefixed records with masked CRC32C.
//!
//! Source: tensorflow/core/util/event.proto, framework/summary.proto and lib/io/record_writer.

use lockstep_run::Part;
use lockstep_run::segment::Metric;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// One record with everything that a metric holds.
pub(super) fn scalars(Metric { report, at, .. }: &Metric) -> Vec<u8> {
    let named = [
        ("train/loss", report.loss),
        ("train/lr", report.lr),
        ("train/grad_norm", report.grad_norm),
        ("train/loss_scale", report.loss_scale),
        ("train/samples_per_second", report.samples_per_second),
        ("train/tokens_per_second", report.tokens_per_second),
        ("train/mfu", report.mfu),
    ];
    let train = named.into_iter().filter_map(|(tag, value)| Some((tag.to_owned(), value?)));
    let step_seconds = report.step_seconds.into_iter();
    let times = step_seconds
        .flat_map(|all| Part::ALL.map(|part| (format!("step_seconds/{}", part.name()), all.get(part))));
    let eval = report.eval.iter().map(|(name, value)| (format!("eval/{name}"), *value));
    let value =
        train.chain(times).chain(eval).map(|(tag, v)| Value { tag, simple_value: Some(v as f32) }).collect();
    let wall_time = at.as_millisecond() as f64 / 1e3;
    record(&Event { wall_time, step: report.step.0 as i64, summary: Some(Summary { value }) }.encode_to_vec())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Generation, Report, Step, StepSeconds};

    #[test]
    fn a_record_frames_its_event() {
        let report = Report {
            step: Step(7),
            loss: Some(0.5),
            step_seconds: Some(StepSeconds { communication: 0.25, ..StepSeconds::default() }),
            eval: [("accuracy".to_owned(), 0.75)].into(),
            ..Report::default()
        };
        let metric =
            Metric { report, generation: Generation(1), at: jiff::Timestamp::UNIX_EPOCH, gpu_seconds: None };
        let bytes = scalars(&metric);
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(bytes.len(), length + 16);
        let event = Event::decode(&bytes[12..12 + length]).unwrap();
        let tags: Vec<_> =
            event.summary.unwrap().value.into_iter().map(|v| (v.tag, v.simple_value.unwrap())).collect();
        let expected = [
            ("train/loss", 0.5),
            ("step_seconds/data", 0.0),
            ("step_seconds/forward", 0.0),
            ("step_seconds/backward", 0.0),
            ("step_seconds/communication", 0.25),
            ("step_seconds/optimizer", 0.0),
            ("step_seconds/other", 0.0),
            ("eval/accuracy", 0.75),
        ];
        assert_eq!((event.step, tags), (7, expected.map(|(tag, value)| (tag.to_owned(), value)).into()));
    }
}
