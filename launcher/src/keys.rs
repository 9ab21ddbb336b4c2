use lockstep_storage::Scheme;

/// How this machine gets to read and write a storage, as an error's `fix`.
pub(crate) fn how_to_give(uri: &str) -> String {
    match Scheme::of(uri) {
        Some(scheme) => format!("export {}", scheme.how_to_give()),
        None => "let yourself read and write that folder".to_owned(),
    }
}
