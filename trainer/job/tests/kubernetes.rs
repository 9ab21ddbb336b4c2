//! The Kubernetes section: its problems, its defaults, and what a job needs to run on a cluster.

use lockstep_job::{ByteSize, Problems, Resolved, Source, Span, resolve};

const HEAD: &str = "name: a\nnodes: 2\ncommand: [train]\nstorage: s3://b/runs\n";

fn job(text: &str) -> Result<Resolved, Problems> {
    resolve(&Source { path: "j.yaml".into(), text: text.into() }, &[])
}

fn good(section: &str) -> Resolved {
    job(&format!("{HEAD}kubernetes: {{ image: i, {section} }}\n"))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn lines(problems: &Problems) -> Vec<String> {
    problems.list.iter().map(|p| format!("{} | {}", p.what, p.fix)).collect()
}

/// The problems of a section that has an image and this.
#[track_caller]
fn assert_section(section: &str, expected: &[&str]) {
    match job(&format!("{HEAD}kubernetes: {{ image: i, {section} }}\n")) {
        Ok(_) => panic!("no problem in {section}"),
        Err(problems) => assert_eq!(lines(&problems), expected, "in {section}"),
    }
}

#[track_caller]
fn assert_cluster(text: &str, expected: &[&str]) {
    match job(text).unwrap_or_else(|problems| panic!("{problems}")).check_for_cluster() {
        Ok(()) => panic!("no problem in {text}"),
        Err(problems) => assert_eq!(lines(&problems), expected, "in {text}"),
    }
}

#[test]
fn defaults_follow_from_other_fields() {
    let plain = good("");
    let section = plain.job.kubernetes.as_ref().unwrap();
    assert_eq!(section.shm_size, Some(ByteSize::new(1 << 30)));
    assert_eq!(section.grace_period, Some(Span::from_secs(40)));
    assert_eq!(plain.job.ranks_per_node, 1);
    let section = good("resources: { memory: 8Gi, cpu: 2 }").job.kubernetes.unwrap();
    assert_eq!(section.shm_size, Some(ByteSize::new(2 << 30)));
    assert_eq!(section.resources.cpu.map(|cpu| cpu.to_string()).as_deref(), Some("2"));
}

#[test]
fn there_is_a_rank_for_each_gpu() {
    let gpus = good("gpu: { count: 8 }").job;
    assert_eq!((gpus.ranks_per_node, gpus.world_size()), (8, 16));
    assert_eq!(gpus.kubernetes.unwrap().gpu.unwrap().resource, "nvidia.com/gpu");
    let text = format!("{HEAD}ranksPerNode: 2\nkubernetes: {{ image: i, gpu: {{ count: 8 }} }}\n");
    assert_eq!(job(&text).unwrap().job.ranks_per_node, 2);
}

#[test]
fn what_the_agent_sets_is_refused() {
    assert_section("env: { RANK: '1' }", &["RANK is set by the agent for each worker | remove it"]);
    assert_section(
        "secrets: [{ name: s, key: k, env: MASTER_PORT }]",
        &["MASTER_PORT is set by the agent for each worker | remove it"],
    );
    assert_section(
        "env: { TORCHELASTIC_RUN_ID: a }",
        &["TORCHELASTIC_RUN_ID is set by the agent for each worker | remove it"],
    );
}

#[test]
fn a_job_holds_no_secret() {
    assert_section(
        "env: { HF_TOKEN: abc }",
        &["kubernetes.env.HF_TOKEN holds a secret, and whoever may read the Job can see it | \
           put it into a Secret, and write secrets: [{ name: THE-SECRET, key: HF_TOKEN }]"],
    );
    assert_section(
        "secrets: [{ name: s, env: A }]",
        &["kubernetes.secrets.0.env names a variable, but no `key` says what it holds | \
           add key, or remove env to get all keys"],
    );
    assert_section(
        "env: { A: b }, secrets: [{ name: s, key: A }]",
        &["kubernetes.secrets.0 sets A, which is already set | keep one, or name another variable with env"],
    );
}

#[test]
fn words_are_checked() {
    assert_section(
        "gpu: { resource: gpu, count: 1 }",
        &[
            "kubernetes.gpu.resource is `gpu`, but a resource has a domain and a name | write it like nvidia.com/gpu",
        ],
    );
    assert_section(
        "schedule: { cron: '0 2 * *' }",
        &["kubernetes.schedule.cron is `0 2 * *`, which has 4 parts instead of 5 | \
           write minute, hour, day of month, month and day of week, like `0 2 * * *`"],
    );
    assert_section(
        "resources: { cpu: 4 cores }",
        &["kubernetes.resources.cpu: `4 cores` is not a number of cores | \
           write cores, or thousandths of a core with an m, for example 4 or 500m"],
    );
    assert_section(
        "spot: aws",
        &["kubernetes.spot is `aws`, but must be karpenter, eks, gke or aks | did you mean `aks`?"],
    );
}

#[test]
fn volumes_have_one_source_and_a_place_of_their_own() {
    assert_section(
        "volumes: [{ mountPath: /data }]",
        &["kubernetes.volumes.0 mounts nothing | add claim, configMap or secret"],
    );
    assert_section(
        "volumes: [{ mountPath: /data, claim: a, secret: b }]",
        &["kubernetes.volumes.0 mounts several things | give each a volume of its own"],
    );
    assert_section(
        "volumes: [{ mountPath: data, claim: a }, { mountPath: /tmp/, claim: a }]",
        &[
            "kubernetes.volumes.0.mountPath is `data`, which is not an absolute path without colons | start it with / and leave out colons",
            "kubernetes.volumes.1.mountPath is `/tmp`, where something else is mounted | use another path",
        ],
    );
}

#[test]
fn sizes_and_times_nest() {
    assert_section(
        "shmSize: 8GiB, resources: { memory: 8GiB }",
        &["kubernetes.shmSize is 8GiB, but must be below resources.memory, which is 8GiB | \
           lower shmSize or raise memory: /dev/shm counts against it"],
    );
    assert_section(
        "resources: { ephemeralStorage: 1GiB }",
        &["kubernetes.resources.ephemeralStorage is 1GiB, but /tmp and the dataset cache may take 2GiB | \
           raise it to 2GiB, or lower tmpSize or data.cache.size"],
    );
    assert_section(
        "gracePeriod: 30s",
        &["kubernetes.gracePeriod is 30s, but must be above recovery.grace, which is 30s | \
           raise gracePeriod or lower grace, or the last checkpoint is cut off"],
    );
}

#[test]
fn a_scheduled_job_has_a_shorter_name() {
    let with = |length: usize, nodes: u32| {
        let name = "n".repeat(length);
        let text = format!(
            "name: {name}\nnodes: {nodes}\ncommand: [a]\n\
             kubernetes: {{ image: i, schedule: {{ cron: '@daily' }} }}\n"
        );
        job(&text).map(drop).map_err(|problems| lines(&problems))
    };
    assert_eq!(with(50, 10), Ok(()));
    assert_eq!(
        with(50, 11),
        Err(vec![
            "name has 50 characters; with the time of a scheduled launch and the node's index that is over 63 | \
             use at most 49 characters"
                .to_owned()
        ])
    );
}

#[test]
fn a_cluster_needs_an_image_and_what_all_pods_reach() {
    assert_cluster(
        "name: a\ncommand: [train]\n",
        &[
            "there is no `kubernetes` section to say which image the pods run | \
             add kubernetes: { image: registry/name:tag }, or run it on this machine: launch --local",
            "storage is `./runs`, which pods on different machines don't share | \
             write a bucket that all pods reach, like s3://bucket/runs, gs://bucket/runs or az://container/runs",
        ],
    );
    assert_cluster(
        "name: a\nmodel: { kind: custom }\nworker: target/w\ntrain: { steps: 1 }\n\
         data: { train: { uri: d }, eval: { uri: /data } }\n\
         warmStart: { kind: weights, uri: w }\n\
         storage: file:///runs\nkubernetes: { image: i }\n",
        &[
            "worker is `target/w`, a path relative to the job file, which pods don't have | \
             write its absolute path in the image",
            "data.train.uri is `d`, a path relative to the job file, which pods don't have | \
             write a bucket, like s3://bucket/dataset, or an absolute path in the image or a volume",
            "warmStart.uri is `w`, a path relative to the job file, which pods don't have | \
             write a bucket, like s3://bucket/weights, or an absolute path in the image or a volume",
            "storage is `file:///runs`, which pods on different machines don't share | \
             write a bucket that all pods reach, like s3://bucket/runs, gs://bucket/runs or az://container/runs",
        ],
    );
}

#[test]
fn each_clouds_buckets_are_reached_by_all_pods() {
    for storage in ["s3://b/r", "gs://b/r", "az://c/r", "abfss://c@account.dfs.core.windows.net/r"] {
        let text = format!("name: a\ncommand: [train]\nstorage: {storage}\nkubernetes: {{ image: i }}\n");
        job(&text).unwrap().check_for_cluster().unwrap();
    }
    for storage in ["gs://", "adl://c/r", "memory://c"] {
        let text = format!("name: a\ncommand: [train]\nstorage: {storage}\nkubernetes: {{ image: i }}\n");
        assert!(job(&text).is_err() || job(&text).unwrap().check_for_cluster().is_err(), "{storage}");
    }
}

#[test]
fn the_section_does_not_change_a_local_run() {
    let text = "name: a\ncommand: [train]\nkubernetes: { image: i }\n";
    assert_eq!(job(text).unwrap().job.storage, "./runs");
}

#[test]
fn a_problem_that_others_find_has_its_place() {
    let text = format!("{HEAD}kubernetes:\n  image: i\n  podOverlay: {{ spec: {{ a: b }} }}\n");
    let problems = job(&text).unwrap().problem("kubernetes.podOverlay.spec.a", "what", "fix");
    assert_eq!(problems.place(&problems.list[0]), "j.yaml:7:28");
}

#[test]
fn the_agent_alone_is_brought_into_another_image() {
    good("agentImage: lockstep");
    let text = "name: a\nnodes: 2\nmodel: { kind: mlp, hidden: [8] }\ndata: { train: { uri: s3://b/d } }\ntrain: { steps: 1, globalBatch: 2 }\nstorage: s3://b/runs\nkubernetes: { image: i, agentImage: lockstep }\n";
    let Err(problems) = job(text) else { panic!("no problem") };
    assert!(lines(&problems)[0].contains("has no lockstep-worker for `model`"), "{problems}");
}
