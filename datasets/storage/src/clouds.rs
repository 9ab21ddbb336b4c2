use std::{str::FromStr, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey},
};

use crate::{
    Options,
    error::causes,
    settings::{self, Refusal},
};

/// A client of Amazon's protocol. Settings come from `AWS_*`; the credentials are those, a web identity's token (IRSA), EKS
/// Pod Identity's and ECS's endpoints, or the machine's metadata server.
pub(crate) fn s3(bucket: &str, options: &Options) -> Result<AmazonS3, Refusal> {
    settings::check::<AmazonS3ConfigKey>("AWS_", &options.config)?;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    for (key, value) in &options.config {
        builder = builder.with_config(setting::<AmazonS3ConfigKey>(key)?, value);
    }
    let endpoint = builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let builder = builder.with_client_options(client(endpoint, options)).with_retry(retries(options));
    builder.build().map_err(|error| format!("{}; see the AWS_* variables", causes(&error)))
}

/// A client of Google's protocol. Settings come from `GOOGLE_*`; the credentials are a service account's or an authorised
/// user's file, workload identity, or the machine's metadata server.
pub(crate) fn gcs(bucket: &str, options: &Options) -> Result<GoogleCloudStorage, Refusal> {
    settings::check::<GoogleConfigKey>("GOOGLE_", &options.config)?;
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    for (key, value) in &options.config {
        builder = builder.with_config(setting::<GoogleConfigKey>(key)?, value);
    }
    let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let has_key = builder.get_config_value(&GoogleConfigKey::ServiceAccountKey).is_some();
    let builder = builder.with_client_options(client(endpoint, options)).with_retry(retries(options));
    builder.build().map_err(|error| match has_key {
        // The client's own words quote what it could not read.
        true => "GOOGLE_SERVICE_ACCOUNT_KEY is not a service account's key".to_owned(),
        false => format!("{}; see the GOOGLE_* variables", causes(&error)),
    })
}

/// Which container of which account a URI names.
pub(crate) enum Container<'a> {
    /// `az://container`: the account is among the settings.
    Named(&'a str),
    /// `abfss://container@account.dfs.core.windows.net`.
    Whole(&'a str),
}

/// A client of Azure's blob protocol. Settings come from `AZURE_*`; the credentials are an account's key, a shared access
/// signature, a service principal's secret, workload identity, or the machine's managed identity.
pub(crate) fn azure(container: Container<'_>, options: &Options) -> Result<MicrosoftAzure, Refusal> {
    settings::check::<AzureConfigKey>("AZURE_", &options.config)?;
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (key, value) in &options.config {
        builder = builder.with_config(setting::<AzureConfigKey>(key)?, value);
    }
    builder = match container {
        Container::Named(name) => builder.with_container_name(name),
        Container::Whole(uri) => builder.with_url(uri),
    };
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let builder = builder.with_client_options(client(endpoint, options)).with_retry(retries(options));
    builder.build().map_err(|error| format!("{}; see the AZURE_* variables", causes(&error)))
}

fn setting<K: FromStr<Err = object_store::Error>>(name: &str) -> Result<K, Refusal> {
    name.parse().map_err(|error: object_store::Error| causes(&error))
}

fn client(endpoint: Option<String>, options: &Options) -> ClientOptions {
    // Another part of the process may have installed one before; either does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new()
        // The user wrote `http://` on purpose; without an endpoint it is https anyway.
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_connect_timeout(Duration::from_secs(5))
        // The client's own timeout spans the whole body. Ours know the size; this one catches a stalled body.
        .with_timeout_disabled()
        .with_read_timeout(options.limits.call / 3)
}

fn retries(options: &Options) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        max_retries: 6,
        retry_timeout: options.limits.call,
    }
}
