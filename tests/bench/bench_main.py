"""scripts/bench: measure, and print a table.

Nothing here is a test: the figures depend on the machine.
"""

import argparse
import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bench_fit
import bench_journal
import bench_load
import bench_reaction
from kit.table import Row, show

TOP = Path(__file__).parents[2]
LAB = TOP / "scripts" / "lab"
SYSTEMS = Path(__file__).parent / "labels"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    logging.getLogger().setLevel(logging.WARNING)  # python-ace sets it to INFO, for everybody
    args = _parser().parse_args(argv)
    rows: list[Row] = args.measure(args)
    show(f"scripts/bench {args.what}", rows, args.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    reaction = commands.add_parser(
        "reaction", help="from an outcome to the next sbatch; needs the lab (root on Debian)"
    )
    reaction.add_argument("--phases", type=int, default=12, help="links of the chain")
    reaction.add_argument(
        "--sleep",
        type=float,
        default=0.73,
        help="seconds of each job of the chain; no whole number",
    )
    reaction.add_argument(
        "--fan-out", type=int, nargs="*", default=[200, 2000], help="tasks of one phase"
    )
    reaction.add_argument(
        "--dpdispatcher",
        type=lambda word: Path(word).absolute(),
        help="a Python that has it: make one with `scripts/bench peer`",
    )
    reaction.add_argument(
        "--dpdispatcher-default", action="store_true", help="with its default settings too: minutes"
    )
    reaction.set_defaults(measure=_reaction)
    journal = commands.add_parser("journal", help="appends and replay")
    journal.add_argument("--events", type=int, default=1_000_000, help="to replay")
    journal.add_argument("--appends", type=int, default=2000)
    journal.add_argument(
        "--folder", type=Path, help="on the disk to measure; the temporary folder if left out"
    )
    journal.set_defaults(
        measure=lambda message: bench_journal.measure(
            events=message.events, appended=message.appends, folder=message.folder
        )
    )
    load = commands.add_parser("load", help="a daemon with many live tasks")
    load.add_argument("--live", type=int, default=10_000, help="running tasks")
    load.add_argument("--events", type=int, default=100_000, help="in its journal")
    load.add_argument("--seconds", type=float, default=30.0, help="of each part")
    load.set_defaults(
        measure=lambda message: bench_load.measure(
            live=message.live, events=message.events, for_s=message.seconds
        )
    )
    labels = _labels_parser(commands)
    fit = commands.add_parser(
        "fit", help="fits of published sets of labels by `auto`, beside what others published"
    )
    fit.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a folder of NAME_train.extxyz.gz and NAME_test.extxyz.gz",
    )
    fit.add_argument(
        "--sets", nargs="*", default=[], help="NAMEs; every set of the folder if left out"
    )
    fit.add_argument("--cores", type=int, default=2, help="processes that make the design matrices")
    fit.set_defaults(
        measure=lambda message: bench_fit.measure(message.data, message.sets, message.cores)
    )
    for command in (reaction, journal, load, labels, fit):
        command.add_argument("--json", type=Path, help="write the table there too")
    return parser


def _labels_parser(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "labels", help="errors against labels: this program's loop beside chance"
    )
    names = ", ".join(sorted(path.stem for path in SYSTEMS.glob("*.yaml")))
    parser.add_argument("system", help=f"{names}; or a site file whose oracle is an ASE calculator")
    parser.add_argument(
        "--seeds", type=int, default=1, help="campaigns and pools, each from seeds of its own"
    )
    parser.add_argument(
        "--only", choices=["a", "pools"], help="the loop alone, or everything but the loop"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="where all is kept and found again; .bench/labels/SYSTEM if left out",
    )
    parser.add_argument(
        "--again", action="store_true", help="run the loop once more, though the folder has its run"
    )
    parser.add_argument(
        "--loop", type=Path, help="measure the run in this folder (root/, daemon.out) instead"
    )
    parser.add_argument(
        "--own", action="store_true", help="draw the loop by its own potentials, not by refits"
    )
    parser.add_argument(
        "--timeout", type=float, default=7200.0, help="seconds that a campaign may take"
    )
    parser.set_defaults(measure=_labels)
    return parser


def _labels(args: argparse.Namespace) -> list[Row]:
    from bench_labels import measure  # noqa: PLC0415 - it brings pyace, which no other measurement needs

    return measure(args)


@contextmanager
def running_lab() -> Iterator[dict[str, str]]:
    """What `scripts/lab env` says; a lab that did not run before is taken down again."""
    was_up = (
        subprocess.run([LAB, "status"], check=False, capture_output=True, timeout=60).returncode
        == 0
    )
    if not was_up:
        subprocess.run([LAB, "up"], check=True, timeout=600)
    try:
        said = subprocess.run(
            [LAB, "env"], check=True, capture_output=True, text=True, timeout=60
        ).stdout
        yield dict(line.removeprefix("export ").split("=", 1) for line in said.splitlines())
    finally:
        if not was_up:
            subprocess.run([LAB, "down"], check=True, timeout=120)


def _reaction(args: argparse.Namespace) -> list[Row]:
    with running_lab() as settings:
        return bench_reaction.measure(
            settings,
            phases=args.phases,
            sleep_s=args.sleep,
            fan_outs=args.fan_out,
            peer_python=args.dpdispatcher,
            peer_default=args.dpdispatcher_default,
        )


if __name__ == "__main__":
    main()
