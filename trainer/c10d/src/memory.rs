//! Gives memory back: what only libtorch's start needed, and buffers that are free.

use rustix::mm::{Advice, madvise};
use std::ffi::{c_int, c_void};

/// Lets go of libtorch's code pages that its static initializers have touched, 25 MiB of which a training loop uses a
/// third; those come back at their next use, from the page cache. Call it once, before training.
pub fn release_startup_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (begin, len) in maps.lines().filter_map(code_of_libtorch) {
        // SAFETY: the range is one whole mapping of a file that is executable and not writable. Such pages are never
        // dirty (libtorch has no text relocations), so dropping them loses nothing: the kernel reads the same bytes from
        // the same file when they are used next, also where a thread executes them now.
        let _ = unsafe { madvise(begin as *mut c_void, len, Advice::LinuxDontNeed) };
    }
}

/// From now on, buffers of 1 MiB or more go back to the system when they are freed, which takes time for each. By default
/// glibc keeps what is smaller than 32 MiB; and what it keeps of libtorch's buffers, which are aligned, is often too small by a
/// few bytes for the next of the same size (its bug 14581, mended in 2.38), so that freed ones pile up.
pub fn return_freed_buffers() {
    const M_MMAP_THRESHOLD: c_int = -3;
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    // SAFETY: two numbers, which are checked there. What it writes is one word, which `free` writes in the same way while other
    // threads read it.
    unsafe { mallopt(M_MMAP_THRESHOLD, 1 << 20) };
}

/// Address and length of a line's mapping, where it is code of libtorch.
fn code_of_libtorch(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (range, mode, path) = (words.next()?, words.next()?, words.nth(3)?);
    let (begin, end) = range.split_once('-')?;
    let (begin, end) = (usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (mode == "r-xp" && path.ends_with("/libtorch_cpu.so")).then_some((begin, end - begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_libtorch_is_let_go() {
        let maps = "\
7f0000000000-7f0000001000 r--p 00000000 fe:01 7 /x/libtorch_cpu.so
7f0000001000-7f0000003000 r-xp 00001000 fe:01 7 /x/libtorch_cpu.so
7f0000003000-7f0000004000 rw-p 00003000 fe:01 7 /x/libtorch_cpu.so
7f0000005000-7f0000006000 r-xp 00000000 fe:01 8 /x/libc.so.6
7f0000007000-7f0000008000 rw-p 00000000 00:00 0";
        let found: Vec<_> = maps.lines().filter_map(code_of_libtorch).collect();
        assert_eq!(found, [(0x7f00_0000_1000, 0x2000)]);
    }
}
