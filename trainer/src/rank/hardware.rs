//! What this process runs on, for the record.

use super::Compute;
use lockstep_run::Hardware;

/// This machine, as the kernel tells it.
pub(crate) fn here(compute: &Compute) -> Hardware {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Hardware {
        cpu: processor(&info).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        num_cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u32),
        accelerators: compute.cuda.iter().map(|cuda| cuda.name().to_owned()).collect(),
    }
}

fn processor(info: &str) -> Option<String> {
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: A Good One\n").as_deref(), Some("A Good One"));
        assert_eq!(processor("processor : 0\n"), None);
        let here = here(&Compute::default());
        assert!(!here.cpu.is_empty() && here.num_cores > 0, "{here:?}");
    }
}
