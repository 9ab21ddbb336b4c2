//! What is wrong with a job file is told all at once, each with its place and the way out.

mod support;

use lockstep_job::{Source, parse};
use support::{HEAD, assert_problems, assert_set, assert_tail, lines, problems};

#[test]
fn all_problems_come_at_once_under_one_heading() {
    let text = "name: digits\nmodel: { kind: mlp }\nnodess: 2\ndata: { train: { uri: d } }\n\
                train: { epochs: 30, globalBatch: 65, microBatch: 32 }\n";
    assert_eq!(
        problems("digits.yaml", text, &[]).to_string(),
        "2 problems in digits.yaml\n\
         \x20 digits.yaml:3:1    unknown field `nodess`\n\
         \x20                    did you mean `nodes`?\n\
         \x20 digits.yaml:5:35   train.globalBatch is 65, which is not a multiple of 2 nodes x 1 rank x microBatch 32 = 64\n\
         \x20                    use 64 or 128"
    );
}

#[test]
fn unknown_fields() {
    assert_tail("trian: {}\n", &["j.yaml:5:1 | unknown field `trian` | did you mean `train`?"]);
    assert_tail(
        "keepLast: 3\n",
        &["j.yaml:5:1 | unknown field `keepLast` | did you mean checkpoint.keepLast?"],
    );
    assert_tail("seed: 3\n", &["j.yaml:5:1 | unknown field `seed` | did you mean data.seed or train.seed?"]);
    assert_tail(
        "eval: { evry: 5 steps, micro_batch: 3 }\n",
        &[
            "j.yaml:5:9 | unknown field `eval.evry` | did you mean `every`?",
            "j.yaml:5:24 | unknown field `eval.micro_batch` | did you mean `microBatch`?",
        ],
    );
    assert_tail(
        "limits: { frobnicate: 1 }\n",
        &["j.yaml:5:11 | unknown field `limits.frobnicate` | the fields here are maxRunTime"],
    );
}

#[test]
fn wrong_types() {
    assert_tail(
        "nodes: two\n",
        &["j.yaml:5:8 | nodes must be a whole number, not the text `two` | write digits only"],
    );
    assert_tail(
        "nodes: '2'\n",
        &["j.yaml:5:8 | nodes must be a whole number, not the text `2` | write 2, without quotes"],
    );
    assert_tail(
        "nodes: 2e1\n",
        &["j.yaml:5:8 | nodes must be a whole number, not the number 20.0 | write 20"],
    );
    assert_tail(
        "nodes: 1.5\n",
        &["j.yaml:5:8 | nodes must be a whole number, not the number 1.5 | round it"],
    );
    assert_tail(
        "storage: [a]\n",
        &["j.yaml:5:10 | storage must be text, not a list | write one word, or text in quotes"],
    );
    assert_tail(
        "limits: 5\n",
        &["j.yaml:5:9 | limits must be a group of fields, not the number 5 | \
           write its fields below it, or { field: value }"],
    );
    assert_tail(
        "log:\n",
        &[
            "j.yaml:5:4 | log must be a group of fields, not empty | write its fields below it, or { field: value }",
        ],
    );
    assert_problems(
        "- a\n",
        &["j.yaml:1:1 | the job must be a group of fields, not a list | \
           write its fields below it, or { field: value }"],
    );
    assert_tail(
        "optimizer: { kind: sgd, lr: fast, nesterov: 1 }\n",
        &[
            "j.yaml:5:29 | optimizer.lr must be a number, not the text `fast` | write it without quotes or unit",
            "j.yaml:5:45 | optimizer.nesterov must be true or false, not the number 1 | write true or false",
        ],
    );
    assert_tail(
        "optimizer: { kind: adamw, betas: [0.9] }\n",
        &["j.yaml:5:34 | optimizer.betas has 1 items, not 2 | write 2 items"],
    );
    assert_tail(
        "optimizer: { kind: adamw, betas: 0.9 }\n",
        &["j.yaml:5:34 | optimizer.betas must be a list, not the number 0.9 | \
           write it in brackets, like [a, b]"],
    );
}

#[test]
fn wrong_units() {
    let duration = "write whole numbers with the units ms, s, m, h, d, for example 30s or 1h 30m";
    assert_tail(
        "recovery: { dead: 3 parsecs, grace: 30 }\n",
        &[
            &format!("j.yaml:5:19 | recovery.dead: `3 parsecs` is not a duration | {duration}"),
            &format!("j.yaml:5:37 | recovery.grace: `30` is not a duration | {duration}"),
        ],
    );
    assert_tail(
        "eval: { every: 200 }\n",
        &["j.yaml:5:16 | eval.every: `200` is not an interval | \
           write a number of steps or epochs, like `200 steps`"],
    );
    assert_tail(
        "checkpoint: { every: 2 epochs }\n",
        &["j.yaml:5:22 | checkpoint.every: `2 epochs` is not a number of steps or a duration | \
           write for example `200 steps` or `5m`, above zero"],
    );
    assert_tail(
        "optimizer: { kind: adamw, schedule: { kind: cosine, warmup: 105% } }\n",
        &["j.yaml:5:61 | optimizer.schedule.warmup: `105%` is not a share or a number of steps | \
           write for example `5%` or `100 steps`"],
    );
    assert_problems(
        &HEAD.replace("{ uri: d } }", "{ uri: d }, cache: { size: 16 gigs } }"),
        &["j.yaml:3:43 | data.cache.size: `16 gigs` is not a size | \
           the units are B, KiB, MiB, GiB, TiB and KB, MB, GB, TB"],
    );
}

#[test]
fn out_of_range() {
    assert_tail("nodes: 0\n", &["j.yaml:5:8 | nodes is 0, but must be at least 1 | use 1 or more"]);
    assert_tail("nodes: -3\n", &["j.yaml:5:8 | nodes is -3, but must be at least 1 | use 1 or more"]);
    assert_tail(
        "nodes: 9000000000\n",
        &["j.yaml:5:8 | nodes is 9000000000, but must be at most 100000 | use 100000 or less"],
    );
    assert_tail(
        "checkpoint: { keepLast: 1 }\n",
        &["j.yaml:5:25 | checkpoint.keepLast is 1, but must be at least 2 | use 2 or more"],
    );
    assert_tail(
        "optimizer: { kind: sgd, lr: 0, momentum: 1 }\n",
        &[
            "j.yaml:5:29 | optimizer.lr is 0, but must be above 0 | use a number above 0",
            "j.yaml:5:42 | optimizer.momentum is 1, but must be below 1 | use a number below 1",
        ],
    );
    assert_problems(
        &HEAD.replace("{ kind: mlp }", "{ kind: mlp, hidden: [64, 0] }"),
        &["j.yaml:2:34 | model.hidden.1 is 0, but must be at least 1 | use 1 or more"],
    );
}

#[test]
fn missing_and_repeated_fields() {
    assert_problems(
        "model: { kind: mlp }\ndata: { train: {} }\ntrain: { steps: 5 }\n",
        &[
            "j.yaml:1:1 | `name` is missing | add name: digits",
            "j.yaml:2:16 | `data.train.uri` is missing | add uri: ../datasets/digits",
        ],
    );
    assert_tail("optimizer: { kind: sgd }\n", &["j.yaml:5:12 | `optimizer.lr` is missing | add lr: 0.1"]);
    assert_tail(
        "name: b\n",
        &["j.yaml:5:1 | `name` appears a second time | keep one; the first is on line 1"],
    );
    assert_problems(
        "",
        &["j.yaml:1:1 | the job must be a group of fields, not empty | \
           write its fields below it, or { field: value }"],
    );
}

#[test]
fn tags() {
    let edit = |model: &str| HEAD.replace("{ kind: mlp }", model);
    assert_problems(
        &edit("{ kind: mpl }"),
        &["j.yaml:2:16 | model.kind is `mpl`, but must be mlp, resnet, gpt or custom | did you mean `mlp`?"],
    );
    assert_problems(
        &edit("{ kind: vgg }"),
        &[
            "j.yaml:2:16 | model.kind is `vgg`, but must be mlp, resnet, gpt or custom | write mlp, resnet, gpt or custom",
        ],
    );
    assert_problems(
        &edit("{ hidden: [8] }"),
        &["j.yaml:2:8 | model has no `kind` | add kind: mlp, resnet, gpt or custom"],
    );
    assert_problems(
        &edit("custom"),
        &["j.yaml:2:8 | model must be a group of fields, not the text `custom` | write { kind: custom }"],
    );
    assert_problems(
        &edit("{ kind: mlp, betas: [1, 2] }"),
        &["j.yaml:2:21 | unknown field `model.betas` | the fields here are hidden, dropout, activation"],
    );
}

#[test]
fn names() {
    let fix = "write up to 61 of a-z, 0-9 and -, starting with a letter and ending with a letter or digit";
    let long = "a".repeat(62);
    for name in ["Digits", "1a", "-a", "a-", "a_b", "a.b", "ä", long.as_str()] {
        assert_problems(
            &HEAD.replace("name: a", &format!("name: {name}")),
            &[&format!("j.yaml:1:7 | name: `{name}` is not a run name | {fix}")],
        );
    }
    let name = "a".repeat(61);
    assert_problems(
        &HEAD
            .replace("name: a", &format!("name: {name}\nnodes: 12"))
            .replace("steps: 5", "steps: 5, globalBatch: 12"),
        &["j.yaml:1:7 | name has 61 characters; with -11 for the last node that is over 63 | \
           use at most 60 characters"],
    );
}

#[test]
fn the_batch_must_divide() {
    let train = |train: &str| HEAD.replace("steps: 5", train);
    assert_problems(
        &format!("{}nodes: 3\nranksPerNode: 2\n", train("steps: 5, globalBatch: 64")),
        &[
            "j.yaml:4:33 | train.globalBatch is 64, which is not a multiple of 3 nodes x 2 ranks = 6 | use 60 or 66",
        ],
    );
    assert_problems(
        &train("steps: 5, globalBatch: 8, microBatch: 16"),
        &[
            "j.yaml:4:33 | train.globalBatch is 8, which is not a multiple of 1 node x 1 rank x microBatch 16 = 16 | use 16",
        ],
    );
    // The default of 32 is nowhere in the file; the group that it belongs to is.
    assert_tail(
        "nodes: 3\n",
        &[
            "j.yaml:4:8 | train.globalBatch is 32, which is not a multiple of 3 nodes x 1 rank = 3 | use 30 or 33",
        ],
    );
}

#[test]
fn one_of_model_and_command() {
    assert_problems(
        "name: a\n",
        &["j.yaml:1:1 | there is nothing to run: the job has neither `model` nor `command` | \
           add model: { kind: mlp } or command: [python, train.py]"],
    );
    assert_tail(
        "command: [x]\n",
        &["j.yaml:5:10 | the job has both `model` and `command` | keep one of the two"],
    );
    assert_problems("name: a\ncommand: []\n", &["j.yaml:2:10 | command is empty | write at least one item"]);
    assert_problems(
        "name: a\ncommand: ['']\n",
        &["j.yaml:2:10 | command names no program | write the program first: [python, train.py]"],
    );
    assert_problems(
        "name: a\ncommand: [x]\ntrain: { steps: 5 }\nworker: w\n",
        &[
            "j.yaml:3:8 | train has no effect: `command` brings its own training loop | remove train",
            "j.yaml:4:9 | worker has no effect: `command` brings its own training loop | remove worker",
        ],
    );
}

#[test]
fn a_model_has_what_it_needs() {
    assert_problems(
        "name: a\nmodel: { kind: mlp }\n",
        &[
            "j.yaml:1:1 | train has neither `steps` nor `epochs` | add steps: 1000 or epochs: 10",
            "j.yaml:1:1 | there is no `data` to train on | add data: { train: { uri: path/to/dataset } }",
        ],
    );
    assert_problems(
        &HEAD.replace("steps: 5", "steps: 5, epochs: 2"),
        &["j.yaml:4:28 | train has both `steps` and `epochs` | keep one of the two"],
    );
    assert_problems(
        "name: a\nmodel: { kind: custom }\ntrain: { epochs: 5 }\n",
        &[
            "j.yaml:2:16 | model.kind is custom, but no `worker` names the binary with its task | \
             add worker: path/to/your/binary",
            "j.yaml:3:18 | train.epochs counts epochs, but there is no `data` | count steps, or add data",
        ],
    );
}

#[test]
fn a_warm_start_is_from_another_run_or_from_weights() {
    assert_tail(
        "warmStart: { kind: weights, uri: 's3://key:hunter2@bucket/w' }\n",
        &["j.yaml:5:34 | warmStart.uri holds credentials, and the job file is copied into the run | \
           remove what is before the @; give credentials in environment variables, like AWS_ACCESS_KEY_ID"],
    );
    assert_tail(
        "warmStart: { kind: run, name: a }\n",
        &["j.yaml:5:31 | warmStart.name is `a`, which is this run itself | \
           name another run, or remove it: a run carries on from its own checkpoints by itself"],
    );
    assert_tail(
        "warmStart: { kind: previous }\n",
        &["j.yaml:5:20 | warmStart.kind is previous, but a job without a schedule has no previous run | \
           add kubernetes.schedule, or write warmStart: { kind: run, name: THE-OTHER-RUN }"],
    );
}

#[test]
fn timeouts_nest() {
    assert_tail(
        "recovery: { heartbeat: 3s }\n",
        &[
            "j.yaml:5:24 | recovery.heartbeat is 3s, but must be below recovery.dead, which is 3s | lower heartbeat or raise dead",
        ],
    );
    assert_tail(
        "recovery: { stepBudget: 3s }\n",
        &[
            "j.yaml:5:25 | recovery.dead is 3s, but must be below recovery.stepBudget, which is 3s | lower dead or raise stepBudget",
        ],
    );
    assert_tail(
        "recovery: { stepBudget: 30s, collective: 59s, grace: 5s, join: 0s }\n",
        &[
            "j.yaml:5:42 | recovery.collective is 59s, but must be at least 2 x recovery.stepBudget, which is 1m | \
             raise collective to 1m or more, or remove it",
            "j.yaml:5:54 | recovery.revoke is 5s, but must be below recovery.grace, which is 5s | lower revoke or raise grace",
            "j.yaml:5:64 | recovery.join is zero | use a time above zero",
        ],
    );
    assert_tail(
        "recovery: { stepBudget: 2m }\n",
        &[
            "j.yaml:5:25 | recovery.firstStepBudget is 1m, but must be at least recovery.stepBudget, which is 2m | \
           raise firstStepBudget to 2m or more",
        ],
    );
    assert_tail(
        "nodes: 2\nrecovery: { minNodes: 1 }\n",
        &[
            "j.yaml:6:23 | recovery.minNodes is 1, but must be the same as nodes, which is 2 | write 2, or remove it",
        ],
    );
}

#[test]
fn environment() {
    assert_tail(
        "env: { A-B: x, RANK: '1', LOCKSTEP_LINK: x, P: $HOME, Q: '${}', B: 1 }\n",
        &[
            "j.yaml:5:13 | `A-B` is not a valid name for a variable | \
             use letters, digits and _, not starting with a digit",
            "j.yaml:5:22 | env.RANK is set by the agent for each worker | remove it",
            "j.yaml:5:42 | env.LOCKSTEP_LINK is set by the agent for each worker | remove it",
            "j.yaml:5:48 | env.P has a lone `$` | write ${NAME} for a variable or $$ for a dollar sign",
            "j.yaml:5:58 | env.Q has a lone `$` | write ${NAME} for a variable or $$ for a dollar sign",
        ],
    );
}

#[test]
fn secrets_stay_out_of_the_file() {
    let problems = problems(
        "j.yaml",
        &format!(
            "{HEAD}env: {{ HF_TOKEN: hunter2, OK_TOKEN: '${{X}}' }}\nstorage: s3://key:hunter2@bucket/x\n"
        ),
        &[],
    );
    assert_eq!(
        lines(&problems),
        [
            "j.yaml:5:18 | env.HF_TOKEN holds a secret, and the job file is copied into the run | \
             export HF_TOKEN where the run is started, and write HF_TOKEN: ${HF_TOKEN}",
            "j.yaml:6:10 | storage holds credentials, and the job file is copied into the run | \
             remove what is before the @; give credentials in environment variables, like AWS_ACCESS_KEY_ID",
        ]
    );
    assert!(!problems.to_string().contains("hunter2"));
    // What Azure writes before the @ is the container.
    let with = |storage| {
        parse(&Source { path: "j.yaml".into(), text: format!("{HEAD}storage: {storage}\n") }, &[]).is_ok()
    };
    assert!(with("abfss://container@account.dfs.core.windows.net/x"));
    assert!(!with("abfss://container:hunter2@account.dfs.core.windows.net/x"));
}

#[test]
fn overrides_are_checked_like_the_file() {
    assert_set(&["nodess=2"], &["--set nodess | unknown field `nodess` | did you mean `nodes`?"]);
    assert_set(
        &["train.threads=x", "trane.steps=2"],
        &[
            "--set train.threads | train.threads must be a whole number, not the text `x` | write digits only",
            "--set trane.steps | unknown field `trane` | did you mean `train`?",
        ],
    );
    assert_set(&["nodes"], &["--set nodes | `nodes` has no value | write --set nodes=VALUE"]);
    let deep = format!("{}x", "a.".repeat(100_000));
    assert_set(
        &[&format!("{deep}=1")],
        &[&format!(
            "--set {deep} | `{deep}` is not the path of a field | write the path with dots, like train.steps=200"
        )],
    );
    assert_set(
        &["a..b=1"],
        &["--set a..b | `a..b` is not the path of a field | write the path with dots, like train.steps=200"],
    );
    assert_set(
        &["model.hidden=[8]", "model.hidden.3=8"],
        &["--set model.hidden.3 | `3` is not an index into a list of length 1 | use a number from 0 to 1"],
    );
    assert_set(
        &["recovery.dead=20s"],
        &[
            "--set recovery.dead | recovery.dead is 20s, but must be below recovery.stepBudget, which is 10s | \
           lower dead or raise stepBudget",
        ],
    );
    assert_set(
        &["log={ level: info, level: warn }"],
        &["--set log | `log.level` appears a second time | keep one"],
    );
}

#[test]
fn syntax_errors_have_a_place_too() {
    for (file, text, expected) in [
        (
            "j.yaml",
            "name: [a\nnodes: 2\n",
            "j.yaml:2:6 | illegal placement of ':' indicator | \
             check the YAML here and on the line before: indentation, quotes, brackets",
        ),
        (
            "j.json",
            "{\n  \"name\": \"a\",\n  \"nodes\" 2\n}",
            "j.json:3:11 | expected `:` | check the JSON here and before: quotes, commas, brackets",
        ),
        (
            "j.toml",
            "nodes = 2\nname = digits\n",
            "j.toml:2:8 | string values must be quoted, expected literal string | \
             check the TOML here: text needs quotes, a key comes once, a list needs commas",
        ),
    ] {
        assert_eq!(lines(&problems(file, text, &[])), [expected]);
    }
}

#[test]
fn places_in_json_and_toml_are_exact() {
    let json = "{\n  \"name\": \"a\",\n  \"nodess\": 2,\n  \"train\": { \"steps\": \"5\" }\n}";
    assert_eq!(
        lines(&problems("j.json", json, &[]))[1..],
        [
            "j.json:3:3 | unknown field `nodess` | did you mean `nodes`?",
            "j.json:4:23 | train.steps must be a whole number, not the text `5` | write 5, without quotes",
        ]
    );
    let toml = "name = \"a\"\nnodess = 2\n[train]\n  steps = \"5\"\n";
    assert_eq!(
        lines(&problems("j.toml", toml, &[]))[1..],
        [
            "j.toml:2:1 | unknown field `nodess` | did you mean `nodes`?",
            "j.toml:4:11 | train.steps must be a whole number, not the text `5` | write 5, without quotes",
        ]
    );
}
