//! A secret that a job names is known to its workers, and to nobody else: no log, error, record or argument holds it.

use lockstep_e2e::Workspace;
use std::path::Path;

const SECRET: &str = "planted-0123456789";

/// Files below a folder that hold the secret.
fn holding(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path));
        } else if contains(&std::fs::read(&path).unwrap_or_default()) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

#[test]
fn a_secret_is_in_no_log_error_record_or_argument() {
    let mut ws = Workspace::new();
    for name in ["PLANTED", "AWS_SECRET_ACCESS_KEY"] {
        ws.set_env(name, SECRET);
    }
    ws.set_env("LOCKSTEP_LOG", "trace");
    let script = "echo \"it has ${#API_TOKEN} bytes\"; until [ -e go ]; do sleep 0.05; done; exit 7";
    let job = format!(
        "name: secret\ncommand: [sh, -c, '{script}']\nenv: {{ API_TOKEN: \"${{PLANTED}}\" }}\nrecovery: {{ sameCause: 2 }}\n"
    );
    let job = ws.write("job.yaml", &job);
    let mut run = ws.start(&format!("launch -f {} --local --run-dir d -o json", job.display()));
    run.wait_for_text(&format!("it has {} bytes", SECRET.len()));
    let processes = run.marker.all();
    assert!(processes.len() >= 3, "{processes:?}");
    for pid in processes {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!contains(&arguments), "{}", String::from_utf8_lossy(&arguments));
    }
    ws.write("go", "");
    let ended = run.finish().expect_code(1);
    let mut told = vec![ended.stdout, ended.stderr];
    for words in ["status d -o json", "events d", "logs d", "status nowhere", "checkpoint list d"] {
        let told_by = ws.run(words);
        told.extend([told_by.stdout, told_by.stderr]);
    }
    // Errors about the job itself, and about a storage that isn't there.
    let wrong =
        ws.run(&format!("launch -f {} --local --set env.API_TOKEN=${{PLANTED --run-dir e", job.display()));
    let s3 = ws.run("status s3://no-such-bucket.invalid/run");
    told.extend([wrong.stdout, wrong.stderr, s3.stdout, s3.stderr]);
    for text in told {
        assert!(!contains(text.as_bytes()), "{text}");
    }
    assert_eq!(holding(&ws.path("")), [""; 0]);
}
