"""A measurement of dpdispatcher, run by the Python it is installed in; the last line is seconds."""

import json
import sys
import time
from pathlib import Path

from dpdispatcher import Machine, Resources, Submission, Task

asked = json.loads(sys.argv[1])
settings = asked["settings"]
local = Path(asked["folder"]) / "local"
local.mkdir()
remote = (
    Path(settings["AUTOPIPEC_LAB_HOME"]) / "bench"
    if asked["way"] == "ssh"
    else Path(asked["folder"])
)
profile = (
    {
        "hostname": "127.0.0.1",
        "port": int(settings["AUTOPIPEC_LAB_SSH_PORT"]),
        "username": settings["AUTOPIPEC_LAB_USER"],
        "key_filename": settings["AUTOPIPEC_LAB_SSH_KEY"],
    }
    if asked["way"] == "ssh"
    else {}
)


def submit(commands: list[str]) -> None:
    """One submission, to its end."""
    base = f"{time.time_ns()}"
    for number in range(len(commands)):
        (local / base / str(number)).mkdir(parents=True)
    array = asked.get("array", False)
    machine = Machine.load_from_dict(
        {
            "batch_type": "SlurmJobArray" if array else "Slurm",
            "context_type": "SSHContext" if asked["way"] == "ssh" else "LocalContext",
            "local_root": str(local),
            "remote_root": str(remote / "dpdispatcher"),
            "remote_profile": profile,
        }
    )
    resources = Resources.load_from_dict(
        {
            "number_node": 1,
            "cpu_per_node": 1,
            "gpu_per_node": 0,
            "queue_name": "main",
            "group_size": len(commands) if array else 1,
            "custom_flags": ["#SBATCH --mem=100M"],
            **({"kwargs": {"slurm_job_size": 1}} if array else {}),
        }
    )
    tasks = [
        Task(command=command, task_work_path=f"{number}/", forward_files=[], backward_files=[])
        for number, command in enumerate(commands)
    ]
    Submission(
        work_base=base, machine=machine, resources=resources, task_list=tasks
    ).run_submission(check_interval=asked["interval_s"])


began = time.monotonic()
if "number" in asked:
    submit(["true"] * asked["number"])
    print(time.monotonic() - began)
else:
    for _ in range(asked["phases"]):
        submit([f"sleep {asked['sleep_s']}"])
    print((time.monotonic() - began) / asked["phases"])
