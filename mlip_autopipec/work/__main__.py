"""Entry of the shipped zipapp.

`task` runs one attempt, `queue` an array of them on this machine, without Slurm. Each command
imports what it needs: the queue is asked every few seconds.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run; the exit status of the process."""
    parser = argparse.ArgumentParser(
        prog="payload", description="The work half: tasks in, outcomes out."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    task = commands.add_parser("task", help="run one attempt at one task")
    task.add_argument("--root", type=Path, required=True, help="the site's root folder")
    task.add_argument("--workdir", required=True, help="the task's folder, relative to the root")
    task.add_argument("--uid", dest="job_name", required=True, help="name of the batch")
    task.add_argument("--index", type=int, required=True, help="index in the batch")
    task.add_argument(
        "--job-id", default=os.environ.get("SLURM_JOB_ID", ""), help="the scheduler's id"
    )
    batch = commands.add_parser(
        "batch", help="run the tasks of a batch on this machine, as cores become free"
    )
    batch.add_argument("--root", type=Path, required=True, help="the site's root folder")
    batch.add_argument(
        "--uid",
        dest="job_name",
        required=True,
        help="name of the batch; its folder is .ap/submit/JOB_NAME",
    )
    queue = commands.add_parser(
        "queue", help="ask this machine's own queue: JSON in, one line of JSON out"
    )
    queue.add_argument("--root", type=Path, required=True, help="the site's root folder")
    queue.add_argument("verb", help="what to do")
    trial = commands.add_parser(
        "examine", help="try one of the codes: JSON in, one line of JSON out"
    )
    trial.add_argument("what", help="which of them")
    needs = commands.add_parser("probe", help="say whether this Python has what the tasks import")
    needs.add_argument("also", nargs="*", help="modules beside what all of them do")
    args = parser.parse_args(argv)
    if args.command == "probe":
        return probe(args.also)
    if args.command == "examine":
        from mlip_autopipec.work.doctor.examine import examine  # noqa: PLC0415

        sys.stdout.write("\n" + json.dumps(examine(args.what, json.load(sys.stdin))) + "\n")
        return 0
    root = args.root.resolve()
    if args.command == "task":
        from mlip_autopipec.work.attempt import run_task  # noqa: PLC0415

        return run_task(root, args.workdir, args.job_name, args.index, args.job_id)
    if args.command == "queue":
        from mlip_autopipec.work.queue import local_queue  # noqa: PLC0415

        sys.stdout.write(
            json.dumps(local_queue.answer(root, args.verb, json.load(sys.stdin))) + "\n"
        )
        return 0
    from mlip_autopipec.work.queue.batch import run_batch  # noqa: PLC0415

    return run_batch(root, args.job_name)


def probe(also: Sequence[str] = ()) -> int:
    """Name every package that a task would miss; 1 if there is one."""
    from mlip_autopipec.work.doctor.examine import EXTRAS, missing  # noqa: PLC0415

    absent = missing(also)
    if absent:
        extras = ",".join(dict.fromkeys(EXTRAS.get(name, "demo") for name in absent))
        sys.stderr.write(
            f"it has no {', '.join(absent)} (for this machine: pip install"
            f" 'mlip-autopipec[{extras}]')\n"
        )
    return 1 if absent else 0


if __name__ == "__main__":
    raise SystemExit(main())
