"""The program's whole loop for `scripts/bench labels`.

It is a real daemon to its verdict, measured cycle by cycle.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from labels_fit import Fitter, Rows, Scores, TestSet
from ruamel.yaml import YAML

from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.structures import read_frames

_HERE = Path(__file__).parent
_POLL_S = 2.0


@dataclass(frozen=True)
class Cycle:
    """After one cycle: labels beyond the generated ones, and errors on the bench's test set."""

    cycle: int
    train_labels: int
    other_labels: int
    #: Of the bench's own fit to the same labels, with the site file's settings.
    refitted: Scores
    #: Of the potential that the cycle made; None where the fit failed.
    own: Scores | None


def moved(site_file: Path, folder: Path, *, seed: int) -> Path:
    """A copy of the site file in a folder, with all that the campaign writes there.

    Jobs run on two cores.
    """
    yaml = YAML()
    content = yaml.load(site_file.read_text(encoding="utf-8"))
    content["campaign"].update(folder=str(folder / "campaign"), seed=seed)
    here = {"transport": {"kind": "local"}, "scheduler": {"kind": "local", "cores": 2}}
    content["site"].update(here, root=str(folder / "root"))
    _anchor(content, site_file.parent)
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "site.yaml"
    with copy.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return copy


def _anchor(content: dict[str, object], folder: Path) -> None:
    """Structures beside the site file are found from its copy too."""
    generation, exploration = content["generation"], content["exploration"]
    if not isinstance(generation, dict) or not isinstance(exploration, dict):
        return
    if "files" in generation:
        generation["files"] = [str((folder / name).resolve()) for name in generation["files"]]
    for walkers in exploration["walkers"]:
        if walkers.get("file"):
            walkers["file"] = str((folder / walkers["file"]).resolve())


def run(site_file: Path, folder: Path, *, modules: Path, timeout_s: float) -> Iterator[Path]:
    """Run the daemon to its verdict; the data set of each cycle as soon as its potential is there.

    An oracle may be a module of the folder `modules`, or of the bench.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    paths = [str(modules), str(_HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    arguments = ["--config", str(site_file), "--exit-on-verdict"]
    with (folder / "daemon.out").open("a", encoding="utf-8") as output:
        daemon = subprocess.Popen(
            ["nice", "-n", "5", sys.executable, "-m", "mlip_autopipec.daemon", *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        ends, seen = time.monotonic() + timeout_s, 0
        while True:
            ended = daemon.poll() is not None
            found = data_sets(folder / "root")
            yield from found[seen:]
            seen = len(found)
            if ended or time.monotonic() > ends:
                return
            time.sleep(_POLL_S)
    finally:
        if daemon.poll() is None:  # SIGTERM lets running jobs end
            daemon.terminate()
            daemon.wait(timeout=120)


def data_sets(root: Path) -> list[Path]:
    """Of the cycles whose potential has been placed, which is the last thing that a fit does."""
    found = sorted((root / "dataset").glob("[0-9]*.extxyz"))
    return [path for path in found if (root / "potentials" / path.stem / "metrics.json").exists()]


def verdict(folder: Path) -> str:
    """The line of the daemon that says how the campaign ended."""
    path = folder / "daemon.out"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.strip() for line in reversed(lines) if " verdict " in line), "no verdict")


class Follower:
    """Reads a campaign's data sets in their order and measures after each."""

    def __init__(
        self, fitter: Fitter, generated: int, test: list[Rows], frames: list[Atoms]
    ) -> None:
        self._fitter = fitter
        self._generated = generated
        self._test_rows = test
        self._test = TestSet.of(test)
        self._frames = frames
        self._sums = fitter.sums()
        self._train = self._other = 0

    def after(self, dataset: Path) -> Cycle:
        """One more cycle."""
        labels = read_frames(dataset)
        train = [frame for frame in labels if frame.info["role"] == "train"]
        self._train += len(train)
        self._other += (
            sum(frame.info["role"] == "test" for frame in labels) if dataset.stem != "000" else 0
        )
        self._sums.add(self._fitter.rows(train))
        return Cycle(
            cycle=int(dataset.stem),
            train_labels=self._train - self._generated,
            other_labels=self._other,
            refitted=self._test.scores_of_fit(self._test_rows, self._sums.solve()),
            own=self._own(dataset.parents[1] / "potentials" / dataset.stem),
        )

    def _own(self, folder: Path) -> Scores | None:
        path = folder / "potential.yaml"
        if not path.exists():
            return None
        evaluator = AceEvaluator(path)
        found = [evaluator.evaluate(frame, graded=False) for frame in self._frames]
        references = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))[
            "reference_energies_ev"
        ]
        energies = np.array([each.energy_ev for each in found])
        # Of a potential file that gives total energies, or energies beside its references:
        # whichever it is.
        each = [
            self._test.scores(
                (energies + shift) / self._sizes() - self._beside(), [each.forces for each in found]
            )
            for shift in (0.0, np.array([_reference(frame, references) for frame in self._frames]))
        ]
        return min(each, key=lambda scores: scores.everything.energy)

    def _sizes(self) -> np.ndarray:
        return np.array([len(frame) for frame in self._frames])

    def _beside(self) -> np.ndarray:
        """The bench's own references per atom, beside which its test set is kept."""
        each = [_reference(frame, self._fitter.references) for frame in self._frames]
        beside: np.ndarray = np.array(each) / self._sizes()
        return beside


def _reference(frame: Atoms, references: Mapping[str, float]) -> float:
    return float(sum(references[symbol] for symbol in frame.get_chemical_symbols()))
