//! What the Job controller does that is easy to get wrong, each as a test on the objects.

use lockstep_job::AgentExit;
use lockstep_render::{checkup, returns, without_returns};

use crate::common::{ALL, Parts, resolved};

#[test]
fn each_node_has_retries_of_its_own_and_keeps_its_index() {
    let parts = Parts::of("minimal", &[]);
    let spec = parts.spec();
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!((spec.completions, spec.parallelism), (Some(2), Some(2)));
    assert!(spec.backoff_limit_per_index.is_some_and(|limit| limit > 100));
    assert_eq!((spec.backoff_limit, spec.max_failed_indexes), (None, Some(0)));
}

#[test]
fn a_disruption_is_no_failure_and_a_fatal_code_is_the_end() {
    let parts = Parts::of("minimal", &[]);
    let spec = parts.spec();
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert_eq!(parts.pod().restart_policy.as_deref(), Some("Never"));
    let rules = &spec.pod_failure_policy.as_ref().unwrap().rules;
    let [disruption, run] = rules.as_slice() else { panic!("{rules:?}") };
    let conditions = disruption.on_pod_conditions.as_ref().unwrap();
    assert_eq!((disruption.action.as_str(), conditions[0].type_.as_str()), ("Ignore", "DisruptionTarget"));
    let codes = run.on_exit_codes.as_ref().unwrap();
    assert_eq!((run.action.as_str(), codes.values.as_slice()), ("FailJob", [2, 240].as_slice()));
    assert_eq!(codes.container_name.as_deref(), Some(parts.container().name.as_str()));
}

#[test]
fn an_agent_that_dies_comes_back_in_its_pod_and_one_that_left_does_not() {
    for name in ALL {
        let parts = Parts::of(name, &[]);
        let agent = parts.container();
        let [rule] = agent.restart_policy_rules.as_deref().unwrap() else { panic!("{agent:?}") };
        // Nothing else brings it back, whatever the rules don't name.
        assert_eq!((agent.restart_policy.as_deref(), rule.action.as_str()), (Some("Never"), "Restart"));
        let codes = rule.exit_codes.as_ref().unwrap();
        assert_eq!(codes.operator, "In");
        for (code, comes_back) in [
            (AgentExit::Done.code(), false),
            (AgentExit::Again.code(), true),
            (AgentExit::Usage.code(), false),
            (137, true),
            (AgentExit::Stopped.code(), false),
            (AgentExit::RunOver.code(), false),
        ] {
            assert_eq!(codes.values.as_ref().unwrap().contains(&code), comes_back, "{code}");
        }
    }
}

#[test]
fn a_cluster_that_knows_no_rules_gets_none_and_everything_else() {
    let parts = Parts::of("everything", &[]);
    let mut template = parts.template().clone();
    assert!(returns(&template));
    without_returns(&mut template);
    assert!(!returns(&template));
    let (before, after) = (parts.container().clone(), template.spec.as_ref().unwrap().containers[0].clone());
    assert_eq!((&after.restart_policy, &after.restart_policy_rules), (&None, &None));
    let (restart_policy, restart_policy_rules) = (before.restart_policy, before.restart_policy_rules.clone());
    let with = k8s_openapi::api::core::v1::Container { restart_policy, restart_policy_rules, ..after };
    assert_eq!(&with, parts.container());
}

#[test]
fn one_node_that_is_done_is_enough() {
    let parts = Parts::of("minimal", &[]);
    let rules = &parts.spec().success_policy.as_ref().unwrap().rules;
    assert_eq!(rules.iter().map(|rule| rule.succeeded_count).collect::<Vec<_>>(), [Some(1)]);
}

#[test]
fn nothing_that_others_set_is_in_it() {
    for name in ALL {
        let parts = Parts::of(name, &[]);
        assert_eq!((parts.spec().suspend, parts.spec().ttl_seconds_after_finished), (None, None));
        for value in parts.objects.to_values().unwrap() {
            assert_eq!(value["metadata"].get("ownerReferences"), None);
            assert_eq!(value.get("status"), None);
        }
    }
}

#[test]
fn kueue_admits_all_nodes_or_none() {
    let parts = Parts::of("everything", &[]);
    let meta = &parts.job().metadata;
    assert_eq!(meta.labels.as_ref().unwrap()["kueue.x-k8s.io/queue-name"], "team-a");
    let whole = "kueue.x-k8s.io/job-completions-equal-parallelism";
    assert_eq!(meta.annotations.as_ref().unwrap()[whole], "true");
    let nightly = Parts::of("nightly", &[]);
    let template = &nightly.cron_job().spec.as_ref().unwrap().job_template;
    let labels = template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
    assert_eq!(labels["kueue.x-k8s.io/queue-name"], "nights");
    assert_eq!(Parts::of("minimal", &[]).job().metadata.labels.as_ref().unwrap().len(), 7);
}

#[test]
fn a_launch_is_one_job_object() {
    let parts = Parts::of("minimal", &[]);
    assert_eq!(parts.arg("launch"), "$(LOCKSTEP_LAUNCH)");
    let env = &parts.container().env.as_ref().unwrap()[0];
    let path = &env.value_from.as_ref().unwrap().field_ref.as_ref().unwrap().field_path;
    let label = "metadata.labels['batch.kubernetes.io/controller-uid']";
    assert_eq!((env.name.as_str(), path.as_str()), ("LOCKSTEP_LAUNCH", label));
}

#[test]
fn the_command_line_finds_the_run_by_annotations() {
    let parts = Parts::of("everything", &[]);
    let annotations = parts.job().metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["lockstep.dev/storage"], "s3://bucket/runs");
    assert_eq!(annotations["lockstep.dev/run-dir"], "s3://bucket/runs/everything");
    assert_eq!(parts.arg("run-dir"), "s3://bucket/runs/everything");
    let digest = |sets: &[&str]| {
        Parts::of("minimal", sets).job().metadata.annotations.as_ref().unwrap()["lockstep.dev/spec"].clone()
    };
    assert_eq!(digest(&[]), digest(&[]));
    assert_ne!(digest(&[]), digest(&["kubernetes.resources.cpu=2"]));
}

#[test]
fn a_scheduled_launch_is_a_run_of_its_own() {
    let parts = Parts::of("nightly", &[]);
    let spec = parts.cron_job().spec.as_ref().unwrap();
    assert_eq!(spec.concurrency_policy.as_deref(), Some("Forbid"));
    assert_eq!(spec.time_zone.as_deref(), Some("Europe/Berlin"));
    assert_eq!(parts.arg("run-dir"), "s3://bucket/runs/$(LOCKSTEP_JOB)");
    let changed = Parts::of("nightly", &["train.steps=2000"]);
    let name = |parts: &Parts| parts.objects.config_map.metadata.name.clone().unwrap();
    assert!(name(&parts).starts_with("nightly-") && name(&parts) != name(&changed));
}

#[test]
fn a_checkup_is_one_pod_like_the_jobs_that_ends_soon() {
    let gpus = ["kubernetes.gpu.count=2"];
    for (name, sets) in [("minimal", &gpus[..]), ("everything", &[]), ("nightly", &[])] {
        let job = resolved(name, sets).job;
        let parts = Parts { objects: checkup(&job, "doctor-1".parse().unwrap()).unwrap() };
        let spec = parts.spec();
        assert_eq!(
            (spec.completions, spec.parallelism, spec.backoff_limit_per_index),
            (Some(1), Some(1), Some(0))
        );
        assert!(spec.active_deadline_seconds.is_some() && spec.ttl_seconds_after_finished.is_some());
        assert_eq!(
            (parts.job().metadata.name.as_deref(), parts.arg("storage")),
            (Some("doctor-1"), job.storage.trim_end_matches('/'))
        );
        assert_eq!(parts.container().args.as_ref().unwrap()[0], "checkup");
        assert!(!returns(parts.template()), "it looks around once");
        // What it runs with is what the job's pods run with; only scheduled ones need to be told their Job's name.
        let theirs = Parts::of(name, sets);
        let (ours, theirs) = (parts.container(), theirs.container());
        let mut env = theirs.env.clone().unwrap();
        env.retain(|variable| variable.name != "LOCKSTEP_JOB");
        assert_eq!((&ours.image, ours.env.as_ref()), (&theirs.image, Some(&env)));
        assert_eq!((&ours.env_from, &ours.resources), (&theirs.env_from, &theirs.resources));
        let gpus = job.kubernetes.unwrap().gpu.filter(|gpu| gpu.resource == "nvidia.com/gpu");
        let asked = ours.args.as_ref().unwrap().iter().find_map(|arg| arg.strip_prefix("--gpus="));
        assert_eq!(asked.map(str::to_owned), gpus.map(|gpu| gpu.count.to_string()), "{name}");
    }
}
