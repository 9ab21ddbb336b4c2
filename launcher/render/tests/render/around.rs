//! What pods need around them: names, the job file, who may speak to them, who may end them.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::common::{ALL, Parts, resolved};

#[test]
fn pods_find_each_other_before_they_are_ready() {
    for name in ALL {
        let parts = Parts::of(name, &[]);
        let spec = parts.objects.service.spec.as_ref().unwrap();
        assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
        assert_eq!(spec.publish_not_ready_addresses, Some(true));
        assert_eq!(parts.pod().subdomain, parts.objects.service.metadata.name);
        let labels = parts.template().metadata.as_ref().unwrap().labels.as_ref().unwrap();
        for (key, value) in spec.selector.as_ref().unwrap() {
            assert_eq!(labels.get(key), Some(value), "{name}");
        }
    }
    // By address: a name server may answer with what was true half a minute ago.
    assert_eq!(Parts::of("minimal", &[]).arg("host"), "$(LOCKSTEP_POD_IP)");
}

#[test]
fn the_selector_outlives_a_new_version() {
    let parts = Parts::of("minimal", &[]);
    let selector = parts.objects.service.spec.as_ref().unwrap().selector.as_ref().unwrap();
    assert_eq!(selector.keys().collect::<Vec<_>>(), ["lockstep.dev/job"]);
}

#[test]
fn agents_read_the_resolved_job() {
    let parts = Parts::of("minimal", &[]);
    let config_map = &parts.objects.config_map;
    assert_eq!(config_map.immutable, Some(true));
    let text = &config_map.data.as_ref().unwrap()["job.json"];
    let job = lockstep_job::JobSpec::from_json(serde_json::from_str::<serde_json::Value>(text).unwrap());
    assert_eq!(job.unwrap(), resolved("minimal", &[]).job);
    assert_eq!(parts.arg("job"), "/etc/lockstep/job.json");
}

#[test]
fn only_the_jobs_own_pods_get_in() {
    let parts = Parts::of("minimal", &[]);
    let spec = parts.objects.network_policy.as_ref().unwrap().spec.as_ref().unwrap();
    assert_eq!((spec.policy_types.as_ref().unwrap(), &spec.egress), (&vec!["Ingress".to_owned()], &None));
    let rule = &spec.ingress.as_ref().unwrap()[0];
    assert_eq!((&rule.ports, &rule.from.as_ref().unwrap()[0].pod_selector), (&None, &spec.pod_selector));
    assert_eq!(Parts::of("everything", &[]).objects.network_policy, None);
}

#[test]
fn a_disruption_budget_counts_pods_that_stay() {
    let parts = Parts::of("everything", &[]);
    let spec = parts.objects.pdb.as_ref().unwrap().spec.as_ref().unwrap();
    assert_eq!((&spec.min_available, &spec.max_unavailable), (&Some(IntOrString::Int(3)), &None));
    assert_eq!(Parts::of("minimal", &[]).objects.pdb, None);
}
