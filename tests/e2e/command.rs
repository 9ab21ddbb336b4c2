//! `command:` runs any torchrun-style program: a real PyTorch DDP script gives the same losses as under torchrun.

use lockstep_e2e::Workspace;
use std::path::Path;
use std::process::Command;

const SCRIPT: &str = r#"
import os, sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
assert int(os.environ["LOCAL_RANK"]) == rank % 2 and int(os.environ["LOCAL_WORLD_SIZE"]) == 2
assert int(os.environ["GROUP_RANK"]) == rank // 2
torch.manual_seed(0)
model = DDP(torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
data = torch.Generator().manual_seed(1)
x, y = torch.randn(64, 8, generator=data), torch.randn(64, 1, generator=data)
for step in range(10):
    loss = torch.nn.functional.mse_loss(model(x[rank::world]), y[rank::world])
    opt.zero_grad(); loss.backward(); opt.step()
    total = loss.detach().clone(); dist.all_reduce(total)
    if rank == 0: print(f"step {step} loss {total.item() / world:.9f}", flush=True)
# Tearing the group down aborts a rank now and then, under torchrun as well; nothing is left to do but to leave.
dist.barrier()
sys.stdout.flush()
os._exit(0)
"#;

fn losses(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|l| Some(l[l.find("step ")?..].to_owned()))
        .filter(|l| l.contains(" loss "))
        .collect()
}

#[test]
fn a_pytorch_ddp_script_trains_as_under_torchrun() {
    let Ok(python) = std::env::var("LOCKSTEP_PYTHON") else {
        panic!("LOCKSTEP_PYTHON is not set; use `make test`")
    };
    let ws = Workspace::new();
    let script = ws.write("train.py", SCRIPT);
    let job = format!(
        "name: torch\nnodes: 2\nranksPerNode: 2\ncommand: [{python}, {}]\nenv: {{ OMP_NUM_THREADS: \"1\" }}\n",
        script.display()
    );
    let job = ws.write("job.yaml", &job);
    let launch = ws.run(&format!("launch -f {} --local", job.display())).expect_code(0);
    let ours = losses(&ws.run("logs torch --rank 0").expect_code(0).stdout);

    let torchrun = Path::new(&python).with_file_name("torchrun");
    let mut command = Command::new("timeout");
    command.args(["120", &torchrun.to_string_lossy(), "--standalone", "--nproc-per-node", "4"]);
    // One machine gives LOCAL_RANK 0..3, so the two checks of the node's layout don't apply.
    let plain = ws.write(
        "plain.py",
        &SCRIPT.lines().filter(|l| !l.starts_with("assert")).collect::<Vec<_>>().join("\n"),
    );
    let out = command.arg(&plain).env("OMP_NUM_THREADS", "1").output().unwrap();
    let theirs = losses(&String::from_utf8_lossy(&out.stdout));
    assert_eq!(theirs.len(), 10, "{}", String::from_utf8_lossy(&out.stderr));
    // A fault, after which the script starts over, is told by the launch alone.
    assert_eq!(ours, theirs, "{}", launch.stderr);
}

#[test]
fn a_command_that_runs_is_said_to_run() {
    let ws = Workspace::new();
    let job = "name: busy\nnodes: 1\ncommand: [sh, -c, 'echo here; sleep 1000']\n";
    let mut run = ws.start(&format!("launch -f {} --local", ws.write("job.yaml", job).display()));
    run.wait_for_text("[rank 0] here");
    let status = ws.run("status busy --output json").expect_code(0).json();
    assert_eq!((&status["phase"], &status["generation"]), (&"running".into(), &1.into()), "{status:#}");
    let table = ws.run("status").expect_code(0).stdout;
    assert!(table.contains("busy  running  1/1    -     -"), "{table}");
    ws.run("cancel busy").expect_code(0);
    run.finish().expect_code(4);
}

#[test]
fn what_a_command_leaves_running_is_ended_with_it() {
    let ws = Workspace::new();
    // A daemon in a session of its own, which no signal to the worker's group reaches.
    let job = "name: stray\nnodes: 1\ncommand: [sh, -c, 'setsid sleep 1000 & echo left one']\n";
    let run = ws.start(&format!("launch -f {} --local", ws.write("job.yaml", job).display()));
    let marker = run.marker.clone();
    run.finish().expect_code(0);
    marker.expect_none_left();
}
