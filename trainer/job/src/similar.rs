//! "Did you mean".

/// The candidate that `name` is most likely a slip of. Of short names the first letter is right: `gpu` is no slip of `cpu`.
pub(crate) fn similar<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let name = plain(name);
    let most = name.chars().count() * 2 / 5;
    let may_be = |candidate: &str| name.len() > 3 || plain(candidate).chars().next() == name.chars().next();
    candidates
        .into_iter()
        .filter(|candidate| may_be(candidate))
        .map(|candidate| (strsim::damerau_levenshtein(&name, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= most.max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The name without what differs between ways to write it: `global_batch` is `globalBatch`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn any_of<'c>(names: impl IntoIterator<Item = &'c str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
