//! Many numbers in few words.

/// Numbers in ascending order as people write them: `0,1`, `0-47`, `0-2,5,8,9`. Two that follow one another stay apart by a comma.
pub fn ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => spans.push((number, number)),
        }
    }
    let span = |(first, last): (u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    spans.into_iter().map(span).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range() {
        for (numbers, text) in [
            (vec![], ""),
            (vec![7], "7"),
            (vec![0, 1], "0,1"),
            (vec![0, 1, 2], "0-2"),
            ((0..48).collect(), "0-47"),
            (vec![0, 1, 2, 5, 8, 9, 11, 12, 13], "0-2,5,8,9,11-13"),
            (vec![u32::MAX - 2, u32::MAX - 1, u32::MAX], "4294967293-4294967295"),
        ] {
            assert_eq!(ranges(numbers), text);
        }
    }
}
