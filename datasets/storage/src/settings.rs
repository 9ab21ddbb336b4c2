//! What a client is built from, looked at beforehand: object_store's clients panic on an address or a header that is none, and
//! their errors quote keys.

use std::str::FromStr;

use url::Url;

/// What is wrong with the settings of a client, and where they come from.
pub(crate) type Refusal = String;

/// Where a key's content was given in place of its path, or the other way round, nothing of it may be shown.
const KEY_CONTENT: &str = "google_service_account_key";
const KEY_PATHS: [&str; 3] =
    ["google_application_credentials", "google_service_account", "google_service_account_path"];
/// How the names of settings end that hold an address.
const ADDRESSES: [&str; 4] = ["endpoint", "endpoint_url", "endpoint_url_s3", "base_url"];

/// Checks the settings that a client of a cloud reads: those of `given`, and the variables that begin with `prefix`.
pub(crate) fn check<K: FromStr>(prefix: &str, given: &[(String, String)]) -> Result<(), Refusal> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        name.starts_with(prefix).then(|| (name.to_ascii_lowercase(), value))
    });
    variables
        .chain(given.iter().cloned())
        .filter(|(name, _)| name.parse::<K>().is_ok())
        .try_for_each(|(name, value)| sound(&name, &value))
}

fn sound(name: &str, value: &str) -> Result<(), Refusal> {
    let variable = name.to_ascii_uppercase();
    if name == KEY_CONTENT {
        return match value.trim_start().starts_with('{') {
            true => Ok(()),
            false => Err(format!(
                "{variable} is not a key in JSON; a key's path goes into GOOGLE_APPLICATION_CREDENTIALS"
            )),
        };
    }
    if KEY_PATHS.contains(&name) && value.trim_start().starts_with('{') {
        return Err(format!(
            "{variable} holds a key, but must hold its path; a key's content goes into GOOGLE_SERVICE_ACCOUNT_KEY"
        ));
    }
    if value.contains(char::is_control) || value.trim() != value {
        return Err(format!("{variable} holds a line break, or a blank at its start or end; remove it"));
    }
    if ADDRESSES.iter().any(|end| name.ends_with(end)) {
        return address(value).map_err(|what| format!("{variable} {what}"));
    }
    Ok(())
}

/// Says what is wrong with a store's address, without what it may hold of a password.
fn address(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("is set, but empty; write the store's address, or unset it".to_owned());
    }
    if value.contains('@') {
        return Err("holds a user's name or a password; keys have variables of their own".to_owned());
    }
    match Url::parse(value) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => Ok(()),
        _ => Err(format!("is {value:?}; write http:// or https://, and then the store's host")),
    }
}

/// Says what is wrong with the name of a bucket or a container.
pub(crate) fn bucket_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-$".contains(c);
    match name.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(format!("the name of a bucket can't hold {c:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_would_panic_on_is_named_and_secrets_are_not_shown() {
        for (name, value, part) in [
            ("aws_endpoint_url", "127.0.0.1:9000", "AWS_ENDPOINT_URL is \"127.0.0.1:9000\"; write http://"),
            ("aws_endpoint_url_s3", "", "AWS_ENDPOINT_URL_S3 is set, but empty"),
            ("aws_endpoint", "http://user:planted@host", "holds a user's name or a password"),
            ("google_base_url", "localhost:1", "GOOGLE_BASE_URL is \"localhost:1\""),
            ("google_base_url", "http://host\n", "holds a line break"),
            ("azure_storage_endpoint", "http://", "write http:// or https://"),
            ("aws_access_key_id", "planted\n", "AWS_ACCESS_KEY_ID holds a line break"),
            ("aws_region", " eu-central-1", "a blank at its start"),
            ("google_application_credentials", "{\"private_key\": \"planted\"}", "must hold its path"),
            ("google_service_account_key", "\"planted\"", "is not a key in JSON"),
        ] {
            let refusal = sound(name, value).unwrap_err();
            assert!(refusal.contains(part) && !refusal.contains("planted"), "{refusal}");
        }
        for (name, value) in [
            ("aws_endpoint_url", "http://127.0.0.1:9000"),
            ("azure_storage_endpoint", "https://account.blob.core.windows.net"),
            ("google_service_account_key", "{\n \"private_key\": \"a\\nb\"\n}\n"),
            ("google_application_credentials", "/keys/a key.json"),
            ("aws_session_token", "a+b/c=="),
        ] {
            assert_eq!(sound(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn only_settings_that_the_client_reads_are_looked_at() {
        use object_store::aws::AmazonS3ConfigKey;
        let given = |name: &str| vec![(name.to_owned(), "a\nb".to_owned())];
        assert!(check::<AmazonS3ConfigKey>("AWS_", &given("aws_region")).is_err());
        assert_eq!(check::<AmazonS3ConfigKey>("AWS_", &given("aws_something_else")), Ok(()));
    }
}
