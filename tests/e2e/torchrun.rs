//! What a command finds around it is what the user wrote, and what torchrun's documentation says.

use lockstep_e2e::Workspace;

/// Launches a job in `ws`, to its end, and returns what rank 0 printed.
fn printed(ws: &Workspace, job: &str, more: &str) -> Vec<String> {
    let job = ws.write("job.yaml", job);
    let run = ws.run(&format!("launch -f {} --local --run-dir d {more}", job.display())).expect_code(0);
    let of_rank_0 = |line: &str| line.strip_prefix("[rank 0] ").map(str::to_owned);
    run.stderr.lines().filter_map(of_rank_0).collect()
}

#[test]
fn words_of_a_job_reach_the_command_as_they_are() {
    let ws = Workspace::new();
    let job = "name: words\ncommand: [sh, -c, 'echo \"$0 $1 $2 $A $B $C\"', 61e9540, 1.10, 0x1F]\n\
               env: { A: 61e9540, B: no, C: before }\n";
    let all = printed(&ws, job, "--set env.C=1_000");
    assert_eq!(all, ["61e9540 1.10 0x1F 61e9540 no 1_000"]);
}

#[test]
fn the_users_threads_win() {
    let ws = Workspace::new();
    let job = |more: &str| format!("name: threads\ncommand: [sh, -c, 'echo $OMP_NUM_THREADS']\n{more}\n");
    assert_eq!(printed(&ws, &job("env: { OMP_NUM_THREADS: 4 }"), "--fresh"), ["4"]);
    assert_eq!(printed(&ws, &job("train: { threads: 3 }"), "--fresh"), ["3"]);
    let both = job("train: { threads: 3 }\nenv: { OMP_NUM_THREADS: 5 }");
    assert_eq!(printed(&ws, &both, "--fresh"), ["5"]);
    // What every launch of these tests is started with.
    assert_eq!(printed(&ws, &job(""), "--fresh"), ["1"]);
}

#[test]
fn python_prints_at_once_unless_it_is_told_otherwise() {
    let ws = Workspace::new();
    let job =
        |more: &str| format!("name: python\ncommand: [sh, -c, 'echo \"[$PYTHONUNBUFFERED]\"']\n{more}\n");
    assert_eq!(printed(&ws, &job(""), "--fresh"), ["[1]"]);
    assert_eq!(printed(&ws, &job("env: { PYTHONUNBUFFERED: '' }"), "--fresh"), ["[]"]);
}

#[test]
fn restarts_are_those_of_this_launch() {
    let ws = Workspace::new();
    let script = "echo restarts $TORCHELASTIC_RESTART_COUNT of $TORCHELASTIC_MAX_RESTARTS; [ -e good ] || { : > good; exit 1; }";
    let job = format!("name: restarts\ncommand: [sh, -c, '{script}']\n");
    ws.write("good", "");
    for _ in 0..3 {
        assert_eq!(printed(&ws, &job, "--fresh"), ["restarts 0 of 3"]);
    }
    std::fs::remove_file(ws.path("good")).unwrap();
    assert_eq!(printed(&ws, &job, "--fresh"), ["restarts 0 of 3", "restarts 1 of 3"]);
    assert_eq!(printed(&ws, &job, "--fresh"), ["restarts 0 of 3"]);
}

#[test]
fn a_command_runs_where_its_job_file_lies_and_one_that_is_typed_where_it_is_typed() {
    let ws = Workspace::new();
    std::fs::create_dir_all(ws.path("jobs/sub")).unwrap();
    for (folder, word) in [("jobs", "of the file"), ("jobs/sub", "of the current folder")] {
        ws.write(&format!("{folder}/train.sh"), &format!("echo {word}\n"));
    }
    let file = "name: here\ncommand: [sh, ./train.sh]\nstorage: kept\n";
    ws.write("jobs/job.yaml", file);
    let from_sub = |words: &str| {
        let script = format!("cd jobs/sub && exec \"$0\" {words}");
        ws.start_in(&["sh", "-c", &script], "lockstep", "").finish().expect_code(0).stderr
    };
    assert!(from_sub("launch -f ../job.yaml --local").contains("[rank 0] of the file"));
    assert!(ws.path("jobs/kept/here/run.json").exists());
    assert!(
        from_sub("launch --name typed --local -- sh ./train.sh").contains("[rank 0] of the current folder")
    );
    assert!(ws.path("jobs/sub/runs/typed/run.json").exists());
    assert!(
        from_sub("launch -f ../job.yaml --name both --local --storage . -- sh ./train.sh")
            .contains("of the current")
    );
    assert!(ws.path("jobs/sub/both/run.json").exists());
}
