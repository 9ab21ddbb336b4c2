use super::Findings;
use crate::{
    EnvError, JobSpec,
    env::{is_reserved_variable, is_variable_name},
};

/// Variables have names that a shell knows, values that can be expanded, and don't replace the agent's own.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    for key in job.env.keys() {
        let path = format!("env.{key}");
        if !is_variable_name(key) {
            let fix = "use letters, digits and _, not starting with a digit";
            found.add(&path, format!("`{key}` is not a valid name for a variable"), fix);
        } else if is_reserved_variable(key) {
            found.add(&path, format!("{path} is set by the agent for each worker"), "remove it");
        }
    }
    // Whether a variable is set is for the launch to tell: the job may be checked on another machine.
    for error in job.env.expand(|_| Some(String::new())).err().unwrap_or_default() {
        if let EnvError::Syntax { key } = &error {
            let path = format!("env.{key}");
            found.add(
                &path,
                format!("{path} has a lone `$`"),
                "write ${NAME} for a variable or $$ for a dollar sign",
            );
        }
    }
}
