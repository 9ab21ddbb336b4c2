/// The JSON schema of a job file, for editors and other tools.
pub fn schema() -> serde_json::Value {
    let schema = schemars::schema_for!(crate::JobSpec);
    // Serialized, its keywords come in an order for readers: what a field is before what it may hold.
    serde_json::to_value(&schema).unwrap_or_else(|_| schema.to_value())
}
