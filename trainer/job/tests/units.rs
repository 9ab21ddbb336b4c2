//! Units: what is read is what is written.

use lockstep_job::{ByteSize, Cadence, Cpu, Interval, RunName, Span, Warmup};
use proptest::prelude::*;

#[test]
fn examples_mean_what_they_say() {
    assert_eq!("64MiB".parse(), Ok(ByteSize::new(64 << 20)));
    assert_eq!("2 gb".parse(), Ok(ByteSize::new(2_000_000_000)));
    assert_eq!("1h 30m".parse(), Ok(Span::from_secs(5400)));
    assert_eq!("200ms".parse(), Ok(Span::from_millis(200)));
    assert_eq!("1 epoch".parse(), Ok(Interval::Epochs(1)));
    assert_eq!("200 steps".parse(), Ok(Cadence::Steps(200)));
    assert_eq!("5m".parse(), Ok(Cadence::Time(Span::from_secs(300))));
    assert_eq!("1.005".parse(), Ok(Cpu::from_millis(1005)));
    assert_eq!("999999.999".parse(), Ok(Cpu::from_millis(999_999_999)));
    assert_eq!("2.5%".parse(), Ok(Warmup::Percent(2.5)));
}

#[test]
fn what_has_no_meaning_is_refused() {
    for text in ["", "64", "MiB", "1.5GiB", "-1B", "1 XB", "99999999999TiB", "64MiB and more"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    for text in [
        "",
        "s",
        "5",
        "5s 5",
        "5 parsecs",
        "-5s",
        "99999999999999999999s",
        "18446744073709551615s",
        "18446744073709551615s 999ms 2ms",
        "1001years",
    ] {
        assert!(text.parse::<Span>().is_err(), "{text}");
    }
    for text in ["", "0 steps", "5", "steps", "1.5 epochs", "5 stepss", "5m"] {
        assert!(text.parse::<Interval>().is_err(), "{text}");
    }
    for text in ["", "0", "-1", "0.0001", "0.5m", "1000000", "1e9m", "nan", "inf", "4 cores"] {
        assert!(text.parse::<Cpu>().is_err(), "{text}");
    }
    for text in ["0s", "0 steps", "1 epochs"] {
        assert!(text.parse::<Cadence>().is_err(), "{text}");
    }
    for text in ["101%", "-1%", "5", "%", "1..2%", "5 %%"] {
        assert!(text.parse::<Warmup>().is_err(), "{text}");
    }
}

#[test]
fn names_leave_room_for_the_index() {
    assert_eq!([1, 9, 10, 11, 100, 101].map(RunName::max_len), [61, 61, 61, 60, 60, 59]);
}

proptest! {
    #[test]
    fn sizes_round_trip(bytes: u64) {
        let size = ByteSize::new(bytes);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn spans_round_trip(millis in 0..=u64::from(u32::MAX) * 1000) {
        let span = Span::from_millis(millis);
        prop_assert_eq!(span.to_string().parse(), Ok(span));
    }

    #[test]
    fn intervals_round_trip(n in 1..=u64::MAX) {
        for interval in [Interval::Steps(n), Interval::Epochs(n)] {
            prop_assert_eq!(interval.to_string().parse(), Ok(interval));
        }
    }

    #[test]
    fn cadences_round_trip(n in 1..=u64::from(u32::MAX)) {
        for cadence in [Cadence::Steps(n), Cadence::Time(Span::from_millis(n))] {
            prop_assert_eq!(cadence.to_string().parse(), Ok(cadence));
        }
    }

    #[test]
    fn warmups_round_trip(steps in 1..=u64::MAX, percent in 0.0..=100.0) {
        for warmup in [Warmup::Steps(steps), Warmup::Percent(percent)] {
            prop_assert_eq!(warmup.to_string().parse(), Ok(warmup));
        }
    }

    #[test]
    fn names_are_labels(text in "\\PC{0,70}") {
        if let Ok(name) = text.parse::<RunName>() {
            prop_assert_eq!(name.to_string(), text);
            prop_assert!(name.len() <= 61 && name.is_ascii());
        }
    }
}
