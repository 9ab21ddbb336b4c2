/// The JSON schema of a job file, for editors and other tools.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(crate::JobSpec).to_value()
}
