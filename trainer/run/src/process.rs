//! What a process of a run is told by who started it, and how it tells of its own end.

use std::io::Write;

/// Says something on standard error. Where nobody can hear it, the process goes on: unlike `eprintln!` this never panics.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether this process ignores a signal, by its number: as `nohup` has it ignore SIGHUP. A handler is no ignoring, so this
/// holds also once one was set for another signal.
pub fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).contains(&signal) && mask & (1 << (signal - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_programs_ignore_broken_pipes_and_nothing_else() {
        let ignored: Vec<_> = (-1..=65).filter(|signal| ignores(*signal)).collect();
        assert!(ignored.contains(&13), "{ignored:?}");
        assert!(!ignored.contains(&9), "{ignored:?}");
    }
}
