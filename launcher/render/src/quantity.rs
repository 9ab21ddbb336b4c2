use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use lockstep_job::{ByteSize, Cpu, Span};

/// `64MiB` as `64Mi`.
pub(crate) fn bytes(size: ByteSize) -> Quantity {
    let bytes = size.bytes();
    let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let whole = units.into_iter().find(|(_, bits)| bytes >= 1 << bits && bytes.is_multiple_of(1 << bits));
    Quantity(whole.map_or_else(|| bytes.to_string(), |(unit, bits)| format!("{}{unit}", bytes >> bits)))
}

pub(crate) fn cores(cpu: Cpu) -> Quantity {
    Quantity(cpu.to_string())
}

/// Whole seconds; a part of one counts as one.
pub(crate) fn seconds(span: Span) -> i64 {
    i64::try_from(span.duration().as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

pub(crate) fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
