//! Weights that were published, as one safetensors file or several, into a model.

use super::TensorFile;
use super::tensors::kind;
use crate::rank::Variables;
use crate::task::Model;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// Copies published weights into a model by name, see [`Model::parameter_of`]: `files` are the bytes of its safetensors files, together with exactly the
/// model's parameters and buffers. Floats of another precision are converted. Where the model pads a parameter, the first rows
/// are filled, and the padding stays as it is.
///
/// # Errors
/// [`Error::Weights`] with everything that does not fit; then nothing is copied.
pub fn load(files: &[&[u8]], vars: &VarStore, model: &dyn Model) -> Result<()> {
    let numbered = (1..).zip(files).map(|(number, bytes)| (format!("file {number}"), *bytes));
    load_into(numbered, &Variables::of(vars, None)?, model)
}

/// As [`load`], of files with names.
pub(super) fn load_into<'a>(
    files: impl IntoIterator<Item = (String, &'a [u8])>,
    variables: &Variables,
    model: &dyn Model,
) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
    let mut parsed = Vec::new();
    for (name, bytes) in files {
        match TensorFile::parse("weights", bytes) {
            Ok(file) => parsed.push(file),
            // That one speaks of a checkpoint.
            Err(Error::State { reason, .. }) => problems.push(format!("{name}: {reason}")),
            Err(other) => return Err(other),
        }
    }
    if !problems.is_empty() {
        return Err(Error::Weights { problems });
    }
    for file in &parsed {
        for name in file.names() {
            let Some(parameter) = model.parameter_of(name) else { continue };
            if found.insert(parameter, (name, file)).is_some() {
                problems.push(format!("{name} is there twice"));
            }
        }
    }
    let mut pairs = Vec::new();
    for (name, target) in variables.all() {
        let target = match model.published_rows(&name) {
            Some(rows) => target.f_narrow(0, 0, rows)?,
            None => target.shallow_clone(),
        };
        match found.remove(&name) {
            None => problems.push(format!("{name} is missing")),
            Some((name, file)) => match misfit(file, name, &target)? {
                Some(problem) => problems.push(problem),
                None => pairs.push((file, name, target)),
            },
        }
    }
    problems.extend(found.values().map(|(name, _)| format!("{name} is not a parameter of this model")));
    if !problems.is_empty() {
        return Err(Error::Weights { problems });
    }
    for (file, name, mut target) in pairs {
        target.f_copy_(&file.read(name)?)?;
    }
    Ok(())
}

/// Why a tensor of a file can't be copied into one of the model.
fn misfit(file: &TensorFile<'_>, name: &str, target: &Tensor) -> Result<Option<String>> {
    let (dtype, shape) = file.describe(name)?;
    let is_float = |kind| matches!(kind, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double);
    let wanted = target.f_kind()?;
    let fits =
        shape == target.size() && kind(dtype).is_ok_and(|k| k == wanted || is_float(k) && is_float(wanted));
    let described =
        || format!("{name} is {dtype:?}{shape:?}, but this model needs {wanted:?}{:?}", target.size());
    Ok((!fits).then(described))
}
