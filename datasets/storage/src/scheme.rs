/// The object stores that [`open`](crate::open) reaches, by how their URIs begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `s3://bucket/prefix`: Amazon's S3 and whatever speaks its protocol.
    S3,
    /// `gs://bucket/prefix`: Google Cloud Storage.
    Gs,
    /// `az://container/prefix`: Azure's blobs, in the account that `AZURE_STORAGE_ACCOUNT_NAME` names.
    Az,
    /// `abfss://container@account.dfs.core.windows.net/prefix`: the same, with the account in the URI.
    Abfss,
}

impl Scheme {
    /// One URI of each cloud, for messages.
    pub const EXAMPLES: &str = "s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";

    /// The scheme of a URI; none for folders, memory, and what isn't known.
    pub fn of(uri: &str) -> Option<Self> {
        match uri.split_once("://")?.0 {
            "s3" => Some(Self::S3),
            "gs" => Some(Self::Gs),
            "az" => Some(Self::Az),
            "abfss" => Some(Self::Abfss),
            _ => None,
        }
    }

    /// Says what to write instead of a path that was meant as a URI, like `s3:/bucket`; none for other paths. Absolute ones are
    /// never meant so.
    pub fn misspelt(path: &str) -> Option<String> {
        let (scheme, _) = path.split_once(':')?;
        let known = Self::of(&format!("{scheme}://x"))?;
        Some(format!("write {}, or ./{path} for a folder of that name", known.example()))
    }

    /// How its URIs are written.
    pub fn example(self) -> &'static str {
        match self {
            Self::S3 => "s3://bucket/prefix",
            Self::Gs => "gs://bucket/prefix",
            Self::Az => "az://container/prefix",
            Self::Abfss => "abfss://container@account.dfs.core.windows.net/prefix",
        }
    }

    /// How a process is given credentials for it, and where it lies if not where one would look: a sentence's end.
    pub fn how_to_give(self) -> &'static str {
        match self {
            Self::S3 => {
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL for stores other than Amazon's"
            }
            Self::Gs => {
                "GOOGLE_APPLICATION_CREDENTIALS with the path of a service account's key, and GOOGLE_BASE_URL for stores other than Google's"
            }
            Self::Az => {
                "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, and AZURE_STORAGE_ENDPOINT for stores other than Azure's"
            }
            Self::Abfss => "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
        }
    }
}
