use super::Findings;
use crate::{JobSpec, Span};

/// Each timeout leaves the one inside it the time to act first.
pub(super) fn check(job: &JobSpec, found: &mut Findings<'_>) {
    let r = &job.recovery;
    let spans = [
        ("heartbeat", r.heartbeat),
        ("dead", r.dead),
        ("join", r.join),
        ("form", r.form),
        ("revoke", r.revoke),
        ("stepBudget", r.step_budget),
        ("firstStepBudget", r.first_step_budget),
        ("evalBudget", r.eval_budget),
        ("checkpointBudget", r.checkpoint_budget),
        ("grace", r.grace),
        ("replacement", r.replacement),
    ];
    for (name, span) in spans {
        if span.duration().is_zero() {
            let path = format!("recovery.{name}");
            found.add(&path, format!("{path} is zero"), "use a time above zero");
        }
    }
    let mut below = |inner: (&str, Span), outer: (&str, Span)| {
        if inner.1 >= outer.1 {
            let (inner_path, outer_path) = (format!("recovery.{}", inner.0), format!("recovery.{}", outer.0));
            let path = found.later(&inner_path, &outer_path).to_owned();
            let what =
                format!("{inner_path} is {}, but must be below {outer_path}, which is {}", inner.1, outer.1);
            found.add(&path, what, format!("lower {} or raise {}", inner.0, outer.0));
        }
    };
    below(("heartbeat", r.heartbeat), ("dead", r.dead));
    below(("dead", r.dead), ("stepBudget", r.step_budget));
    below(("revoke", r.revoke), ("grace", r.grace));
    if r.first_step_budget < r.step_budget {
        let path = found.later("recovery.firstStepBudget", "recovery.stepBudget");
        let what = format!(
            "recovery.firstStepBudget is {}, but must be at least recovery.stepBudget, which is {}",
            r.first_step_budget, r.step_budget
        );
        found.add(path, what, format!("raise firstStepBudget to {} or more", r.step_budget));
    }
    let least = r.step_budget * 2;
    if r.collective() < least {
        let path = found.later("recovery.collective", "recovery.stepBudget");
        let what = format!(
            "recovery.collective is {}, but must be at least 2 x recovery.stepBudget, which is {least}",
            r.collective()
        );
        found.add(path, what, format!("raise collective to {least} or more, or remove it"));
    }
    if job.min_nodes() != job.nodes {
        let what = format!(
            "recovery.minNodes is {}, but must be the same as nodes, which is {}",
            job.min_nodes(),
            job.nodes
        );
        found.add("recovery.minNodes", what, format!("write {}, or remove it", job.nodes));
    }
}
