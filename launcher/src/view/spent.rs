//! What a run's time has gone to, in words.

use lockstep_run::status::RunStatus;

/// Classes and their shares of the time since the first step, largest first; none before that.
pub(crate) fn spent(status: &RunStatus) -> Option<String> {
    let account = status.account?;
    let shares: Vec<_> = account
        .shares()
        .iter()
        .map(|(class, share)| format!("{} {:.1} %", class.name(), share * 100.0))
        .collect();
    let steps = match account.repeated_steps {
        0 => "no step was done twice".to_owned(),
        1 => "1 step was done again".to_owned(),
        steps => format!("{steps} steps were done again"),
    };
    (!shares.is_empty()).then(|| format!("time since the first step: {}; {steps}", shares.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_run::{Account, Step};

    #[test]
    fn the_largest_share_comes_first() {
        let status = |account: Option<Account>| -> RunStatus {
            serde_json::from_value(serde_json::json!({
                "name": "digits", "run_dir": "runs/digits", "phase": "running", "step": 1, "total_steps": 9, "loss": null,
                "eval": {}, "samples_per_second": null, "tokens_per_second": null, "mfu": null, "step_seconds": null,
                "slowest_rank": null, "eta_seconds": null, "generation": 1, "restarts": 0, "nodes": [1, 1],
                "last_checkpoint": null, "time_to_first_step_seconds": null, "why": null, "account": account,
            }))
            .unwrap()
        };
        assert_eq!(spent(&status(None)), None);
        let s = std::time::Duration::from_secs;
        let none = Account { highest: Step(1), ..Account::default() };
        assert_eq!(spent(&status(Some(none))), None);
        let some =
            Account { training: s(96), waiting_for_nodes: s(3), saving: s(1), repeated_steps: 1, ..none };
        assert_eq!(
            spent(&status(Some(some))).as_deref(),
            Some(
                "time since the first step: training 96.0 %, waiting for nodes 3.0 %, saving 1.0 %; 1 step was done again"
            )
        );
    }
}
