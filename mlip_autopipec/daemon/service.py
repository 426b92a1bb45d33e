"""autopipecd: the life of the process around the WorkflowManager.

Start: read the site file, take the campaign's lock, open the journal (which replays it), compare
with the saved state, open the control socket, then let the manager run. The site is not needed for
that: shipping the work half is the first thing that decide asks for, and it is put off for as long
as the site does not answer. The end comes by a signal, by `autopipecctl stop`, by a verdict (with
--exit-on-verdict) or by an error that only a person can heal; running jobs go on in every case, and
the next daemon finds them again.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from mlip_autopipec.config.codes import outside, packages_of
from mlip_autopipec.config.loader import LoadedConfig, effective_yaml, load_config, refusal
from mlip_autopipec.config.supplies import Supply, supplies
from mlip_autopipec.contract.doctor import ORACLE, OracleQuestion
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.oracle import oracle_code, oracle_of
from mlip_autopipec.control.address import socket_path
from mlip_autopipec.control.server import ControlServer
from mlip_autopipec.control.task_files import SiteFiles
from mlip_autopipec.daemon.added import kept
from mlip_autopipec.daemon.ending import DaemonEnding, signals
from mlip_autopipec.daemon.notify import SystemdNotifier, status_text
from mlip_autopipec.daemon.reload import SettingsReader, change_at_start, configuration
from mlip_autopipec.daemon.reporter import LAST_REPORT_TIMEOUT_S, VERDICT_FETCH_TIMEOUT_S, Reporter
from mlip_autopipec.daemon.tuning import GC_THRESHOLDS, SWITCH_S, give_memory_back, share_one_heap
from mlip_autopipec.daemon.watchdog import keep_watchdog
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.data_models.terminal import say
from mlip_autopipec.data_models.text import first_lines
from mlip_autopipec.errors import (
    AutopipecError,
    ConfigurationError,
    OperatorError,
    StateUnreadable,
    TransientError,
)
from mlip_autopipec.examining import answer, question
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.lock import CampaignLock
from mlip_autopipec.journal.mend import complete_mending
from mlip_autopipec.journal.replay import read
from mlip_autopipec.journal.snapshot import save_state, saved_seq
from mlip_autopipec.orchestration.changing import taken
from mlip_autopipec.orchestration.deeds import DeedKeeper
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.end_jobs import end_all_jobs
from mlip_autopipec.orchestration.loop import Observer, WorkflowManager
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.ownership import Ownership
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.progress import ProgressReader
from mlip_autopipec.orchestration.reading import read_pages
from mlip_autopipec.orchestration.restart import after_change
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import Journal, PhaseRunner
from mlip_autopipec.preview import preview
from mlip_autopipec.process import VERSION, SystemClock, may_run_what_it_wrote, person
from mlip_autopipec.report.leftovers import folder_of_leftovers, keep_copies
from mlip_autopipec.schedulers.routing import CurrentScheduler
from mlip_autopipec.schedulers.seam import scheduler_code
from mlip_autopipec.schedulers.shipment import close_to_others, pack
from mlip_autopipec.schedulers.surroundings import as_a_task
from mlip_autopipec.site import adapters, python_of, queues
from mlip_autopipec.streams import take_every_letter
from mlip_autopipec.telling.console import ConsoleProgress, final_text
from mlip_autopipec.telling.log import LogObserver, configure, is_journal

#: What the process ends with once a verdict is reached, with --exit-on-verdict.
VERDICT_EXIT_CODES = {
    Verdict.CONVERGED: 0,
    Verdict.BUDGET_EXHAUSTED: 10,
    Verdict.STALLED: 11,
    Verdict.FAILED: 12,
    Verdict.INACCURATE: 13,
}
#: With --exit-on-verdict, when the daemon was stopped before there was one (EX_TEMPFAIL: start it
#: again to go on).
STOPPED_EARLY_EXIT_CODE = 75
_LAST_MESSAGE_TIMEOUT_S = 10.0
_PROBE_TIMEOUT_S = 60.0
_ORACLE_TIMEOUT_S = 45.0
#: autopipecctl of this very installation.
_CLI = (sys.executable, "-c", "from mlip_autopipec.cli import main; main()")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; ends the process with its documented code."""
    take_every_letter()
    args = _parser().parse_args(argv)
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
    share_one_heap()
    try:
        loaded = load_config(args.config)
        if args.check:
            say(effective_yaml(loaded.config), end="")
            code = 0
        else:
            code = asyncio.run(
                _Daemon(loaded, fresh=args.fresh, exit_on_verdict=args.exit_on_verdict).run()
            )
    except BaseException as error:  # noqa: BLE001 - the border of the process: told in words, ended with a code
        code = _tell(error)
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    """Says how the site file is named to who leaves that out."""

    def error(self, message: str) -> NoReturn:
        example = ", such as: autopipecd --config site.yaml" if "--config" in message else ""
        super().error(f"{message}{example}")


def _parser() -> argparse.ArgumentParser:
    codes = ", ".join(f"{code} {verdict}" for verdict, code in VERDICT_EXIT_CODES.items())
    parser = _Parser(
        prog="autopipecd",
        description=(
            "Run the active-learning campaign of a site file until a signal comes; a journal is"
            " resumed."
        ),
        epilog=(
            f"Exit codes with --exit-on-verdict: {codes}, {STOPPED_EARLY_EXIT_CODE} stopped before"
            " a verdict. Always: 2 the site file is wrong, 78 a person must mend something, 70 a"
            " bug."
        ),
    )
    parser.add_argument("--config", "-c", type=Path, required=True, help="site.yaml")
    parser.add_argument(
        "--check", action="store_true", help="only read the site file; print it with every default"
    )
    parser.add_argument(
        "--exit-on-verdict", action="store_true", help="end when the campaign has its verdict"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="put an earlier campaign aside and begin a new one"
    )
    return parser


def _tell(error: BaseException) -> int:
    """Say what ended the daemon, and with which code."""
    first = _first(error)
    if isinstance(first, AutopipecError):
        say(f"autopipecd: {first}", error=True)
        return first.exit_code
    if isinstance(first, KeyboardInterrupt):
        return 128 + signal.SIGINT
    say("".join(traceback.format_exception(error)), error=True, end="")
    return AutopipecError.exit_code


def _first(error: BaseException) -> BaseException:
    """The first plain error of a group of groups.

    What is left of the others is their cancellation.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Daemon:
    """One process, one campaign."""

    def __init__(self, loaded: LoadedConfig, *, fresh: bool, exit_on_verdict: bool) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._folder = loaded.config.campaign.folder
        self._fresh = fresh
        self._exit_on_verdict = exit_on_verdict
        self._clock = SystemClock()
        self._notifier = SystemdNotifier(os.environ)
        self._shipment = pack(outside(self._config))
        self._supplies = supplies(self._config)
        self._site = adapters(self._config.site, self._shipment.path, self._clock)
        self._scheduler = CurrentScheduler(self._site.scheduler)
        self._effects: Effects | None = None
        self._owner = Ownership(
            self._site.way.transport, self._clock, host=socket.gethostname(), pid=os.getpid()
        )
        self._campaign = ""
        self._deeds: DeedKeeper | None = None
        self._logger: FilteringBoundLogger | None = None
        self._awaits_first_label = False

    async def run(self) -> int:
        """From lock to last word; the exit code."""
        try:
            return await self._run()
        finally:
            await self._site.way.close()

    async def _run(self) -> int:
        if self._fresh:
            await self._put_aside()
        with CampaignLock(self._folder, now=self._clock.now()):
            journal, state = await asyncio.to_thread(
                lambda: FileJournal.open(self._folder / "journal", now=self._clock.now())
            )
            gc.collect()
            # what was replayed stays: looking through it again and again would hold up the loop
            gc.freeze()
            give_memory_back()
            try:
                self._compare(state)
                change_at_start(state, self._loaded)
                if state.stage is Stage.EMPTY:
                    await self._look_ahead()
                return await self._serve(journal, state)
            finally:
                await journal.close()

    async def _look_ahead(self) -> None:
        """What no new campaign could live with is refused before there is one."""
        seen = await asyncio.to_thread(preview, self._config, with_bootstrap=False)
        if seen.mistakes:
            raise refusal(self._loaded.path, seen.mistakes)
        for note in seen.notes:
            self._say(note)

    def _compare(self, state: WorkflowState) -> None:
        """The journal must reach at least as far as the saved state, and be of this campaign."""
        saved_path = self._folder / "state.json"
        if saved_path.exists() and (saved := saved_seq(saved_path)) > state.seq:
            raise StateUnreadable(
                f"{saved_path} is of event {saved}, but the journal in {self._folder / 'journal'}"
                f" ends at event {state.seq}. Bring the whole journal back; nothing has been"
                " changed."
            )
        name = self._config.campaign.name
        if state.campaign and state.campaign.rpartition("-")[0] != name:
            raise ConfigurationError(
                f"{self._loaded.path}: campaign.name is {name!r}, but the journal in"
                f" {self._folder} is of {state.campaign!r}. Give another campaign.folder, or the"
                " old name."
            )

    async def _put_aside(self) -> None:
        """Rename the folders of an earlier campaign, once no job of it lives or may yet begin."""
        path = self._folder / "journal"
        if not self._folder.exists():
            return
        with CampaignLock(self._folder, now=self._clock.now()):
            complete_mending(path)
            if not path.exists():
                return
            if self._config.site.transport.kind != "local":
                raise ConfigurationError(
                    "--fresh is for a site on this machine; give another campaign.folder and"
                    " site.root"
                )
            journal, state = await asyncio.to_thread(
                lambda: FileJournal.open(path, now=self._clock.now())
            )
            await journal.close()
            try:
                if state.campaign:
                    await end_all_jobs(self._site.scheduler, state, self._clock)
            except OperatorError as error:
                raise OperatorError(
                    f"--fresh has put nothing aside: {error}. They write under the same root as"
                    " the new campaign would. Try again when the scheduler answers, end them by"
                    " hand, or give another campaign.folder and site.root"
                ) from error
            suffix = f".{self._clock.now():%Y%m%dT%H%M%S}"
            for folder in (self._config.site.root, self._folder):
                if folder.exists():
                    folder.rename(folder.with_name(folder.name + suffix))
        say(f"the earlier campaign is now in {self._folder}{suffix}")

    async def _prepare_site(self) -> int | None:
        """Take the root over and put the work half there.

        Make sure that its Python has what the tasks import.
        """
        await self._owner.claim(self._campaign)
        await self._site.way.transport.write(
            {
                self._shipment.path: self._shipment.content,
                **{supply.ref.path: supply.content for supply in self._supplies.values()},
            }
        )
        allowed = self._config.site.others_may_write
        if message := await close_to_others(self._site.way.transport, may_stay_open=allowed):
            self._say(message)
        if (
            self._config.site.transport.kind == "local"
            and self._config.site.scheduler.is_the_machine
        ):
            self._say_if_confined()
        python = self._site.python
        also = [
            module for each in asked_of(self._config.training.gate) for module in each.code.modules
        ]
        try:
            done = await self._site.way.transport.run(
                [python, self._shipment.path, "probe", *also], timeout_s=_PROBE_TIMEOUT_S
            )
        except OSError as error:
            raise OperatorError(f"site.python: {python} cannot be run: {error}") from error
        if done.exit_status != 0:
            message = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise OperatorError(f"site.python: {python} cannot run the tasks: {message}")
        if self._awaits_first_label:
            await self._try_oracle()
        return await scheduler_code(self._config.site.scheduler.kind).tasks_max(
            self._site.way.transport
        )

    def _say_if_confined(self) -> None:
        """Jobs of this machine inherit what confines the daemon."""
        if not may_run_what_it_wrote():
            self._say(
                "this process may not run memory that it has written (MemoryDenyWriteExecute), nor"
                " may local jobs: numba and JAX die there. Put systemd/local-jobs.conf into the"
                " unit's drop-in folder"
            )

    async def _try_oracle(self) -> None:
        """Refuse what an oracle can do nowhere before tasks are spent on it; tell other trouble.

        A calculator may need a node's own (a GPU, a licence): that it fails here proves nothing of
        jobs.
        """
        oracle = oracle_of(self._config.calculation.oracle, self._config.campaign.elements)
        if not oracle_code(oracle.kind).tried_at_start:
            return
        asked = OracleQuestion(
            oracle=oracle,
            elements=self._config.campaign.elements,
            distance_min_angstrom=self._config.distance_min_angstrom,
        )
        site = self._config.site
        command = [self._site.python, f"{site.root}/{self._shipment.path}", "examine", ORACLE.name]
        command = as_a_task(site, Phase.CALCULATION, command)
        try:
            done = await self._site.way.transport.run(
                command, stdin=question(asked), timeout_s=_ORACLE_TIMEOUT_S
            )
            found = answer(ORACLE, done.stdout)
            message = (
                found.message if found else first_lines(done.stderr.decode("utf-8", "replace"))
            )
        except (OSError, TransientError) as error:
            found, message = None, str(error)
        if found and not found.fit and found.sure:
            raise OperatorError(f"calculation.oracle: {message}")
        if not found or not found.fit:
            self._say(
                "calculation.oracle was tried where jobs are handed over, and failed there:"
                f" {message}"
            )

    def _say(self, message: str) -> None:
        """On standard error, and in the log once there is one."""
        say(f"autopipecd: {message}", error=True)
        if self._logger is not None:
            self._logger.warning(message)

    async def _serve(self, journal: FileJournal, state: WorkflowState) -> int:
        logger = configure(
            self._folder / "autopipecd.log",
            "info",
            journal=sys.stderr if is_journal(sys.stderr, os.environ) else None,
            bytes_max=self._config.campaign.log_max * 2**20,
            kept=self._config.campaign.logs_kept,
        )
        self._logger = logger
        self._awaits_first_label = state.cycle_index == 0 and state.current_phase in {
            None,
            Phase.GENERATION,
        }
        ending = DaemonEnding()
        reader = ProgressReader(
            self._site.way.transport, self._clock, self._config.site.poll_interval
        )
        progress = ConsoleProgress(
            sys.stdout, interactive=sys.stdout.isatty(), clock=self._clock, running=reader.current
        )
        observers: list[Observer] = [
            LogObserver(logger),
            reader.observe,
            progress,
            self._tell_systemd,
            self._log_in_again,
        ]
        if self._exit_on_verdict:
            observers.append(
                lambda _, after: ending.ask("a verdict is reached") if after.verdict else None
            )
        with progress:
            since = (self._clock.now(), asyncio.get_running_loop().time())
            state = await self._begin(journal, state, observers, since[0])
            self._campaign = state.campaign
            self._deeds = DeedKeeper(self._site.way.transport, state, self._past)
            manager = self._manager(journal, state, observers, since)
            settings = SettingsReader(self._loaded.path, manager, self._clock, self._bring)
            server = ControlServer(
                socket=socket_path(self._folder),
                workflow=manager,
                history=self._history,
                clock=self._clock,
                stop=lambda reason, actor: ending.ask(reason or "autopipecctl stop", actor),
                version=VERSION,
                progress=reader.current,
                files=SiteFiles(self._site.way.transport, lambda: secrets.token_hex(16)),
                settings=settings,
            )
            fetch = self._fetch_leftovers if self._config.site.transport.kind != "local" else None
            reporter = Reporter(
                [*_CLI, "report", "--config", str(self._loaded.path)], logger, fetch
            )
            observers += [server.observe, reporter.observe, self._deeds.observe]
            async with self._running(manager, server, reporter, reader, ending, logger, settings):
                await ending.asked.wait()
                self._notifier.stopping()
                async with asyncio.timeout(_LAST_MESSAGE_TIMEOUT_S):
                    await manager.record(
                        ev.DaemonStopped(at=self._clock.now(), why=ending.why, by=ending.by)
                    )
            # Who stops a daemon waits for it, systemd for half a minute: no such exit waits for a
            # picture.
            over = self._exit_on_verdict and manager.state.verdict is not None
            of_report = await reporter.render_last(
                VERDICT_FETCH_TIMEOUT_S if over else LAST_REPORT_TIMEOUT_S
            )
        with contextlib.suppress(OSError):  # nobody reads any more; the exit code says how it went
            say(final_text(manager.state, self._folder / "report.html", of_report))
        return self._exit_code(manager.state)

    async def _past(self, after: int, until: int) -> Sequence[tuple[int, ev.Event]]:
        return await asyncio.to_thread(
            lambda: [each for each in self._history(after) if each[0] <= until]
        )

    async def _keep_deeds(self) -> None:
        """Beside what is submitted, so that a lost journal lacks nothing that people have done."""
        if self._deeds is not None:
            await self._deeds.run(self._clock)

    async def _reload_when(self, hung_up: asyncio.Event, settings: SettingsReader) -> None:
        """Take the site file again at every SIGHUP.

        One that cannot be taken changes nothing, and is told.
        """
        while True:
            await hung_up.wait()
            hung_up.clear()
            self._notifier.reloading()
            try:
                _, lines = await settings.reload(person(), "SIGHUP", dry_run=False)
            except ConfigurationError as error:
                lines = (f"the site file is not taken: {error}",)
            finally:
                self._notifier.ready()
            for line in lines:
                self._say(line)

    @asynccontextmanager
    async def _running(
        self,
        manager: WorkflowManager,
        server: ControlServer,
        reporter: Reporter,
        reader: ProgressReader,
        ending: DaemonEnding,
        logger: FilteringBoundLogger,
        settings: SettingsReader,
    ) -> AsyncIterator[None]:
        """Everything that runs beside the wait for the end; an error in any of it ends it all."""
        hung_up = asyncio.Event()
        # Of a daemon in a terminal SIGHUP means that the terminal is gone: it ends, as ever.
        with signals(ending, None if sys.stdout.isatty() else hung_up):
            async with asyncio.TaskGroup() as group:
                listening = asyncio.Event()
                managing = group.create_task(manager.run(), name="manager")
                tasks = [
                    group.create_task(server.serve(listening), name="control"),
                    group.create_task(reporter.run(self._clock), name="report"),
                    group.create_task(reader.run(), name="progress"),
                    group.create_task(self._reload_when(hung_up, settings), name="reload"),
                    group.create_task(self._keep_deeds(), name="deeds"),
                    group.create_task(
                        self._owner.keep(self._config.site.poll_interval), name="ownership"
                    ),
                    group.create_task(
                        keep_watchdog(self._notifier, manager.turned, self._clock, logger),
                        name="watchdog",
                    ),
                ]
                async with asyncio.timeout(_LAST_MESSAGE_TIMEOUT_S):
                    await listening.wait()
                self._notifier.ready()
                yield
                async with asyncio.timeout(_LAST_MESSAGE_TIMEOUT_S):
                    await managing
                for task in tasks:
                    task.cancel()

    async def _begin(
        self, journal: Journal, state: WorkflowState, observers: Sequence[Observer], now: datetime
    ) -> WorkflowState:
        """Write down that a daemon has taken over, and that a campaign exists."""
        sha256 = self._loaded.sha256
        begun: list[ev.Event] = []
        if state.stage is Stage.EMPTY:
            name = self._config.campaign.name
            campaign = f"{name}-{secrets.token_hex(3)}"
            begun.append(
                ev.CampaignCreated(
                    at=now,
                    campaign=campaign,
                    name=name,
                    version=VERSION,
                    config_sha256=sha256,
                    k_mesh="family",
                )
            )
        begun += self._changed(reduce(evolve, begun, state), now)
        begun.append(
            ev.DaemonStarted(
                at=now,
                version=VERSION,
                host=socket.gethostname(),
                pid=os.getpid(),
                config_sha256=sha256,
                payload_sha256=self._shipment.sha256,
                packages=packages_of(self._config),
            )
        )
        await journal.append(begun)
        for event in begun:
            state = evolve(state, event)
            for observe in observers:
                observe(event, state)
        return state

    def _changed(self, state: WorkflowState, now: datetime) -> Iterator[ev.Event]:
        """What follows from a site file that is not as it was."""
        sha256, change = self._loaded.sha256, change_at_start(state, self._loaded)
        event = taken(state, change, sha256, now, person(), "") if change is not None else None
        config = configuration(evolve(state, event) if event is not None else state, self._loaded)
        yield from after_change(state, sha256, Policy.from_config(config), now, person(), event)
        for line in change.lines() if change is not None else ():
            self._say(line)

    def _bring(self, further: Mapping[Path, Supply]) -> None:
        """Files that are to be on the site when it is prepared next."""
        self._supplies = {**self._supplies, **further}

    def _follow(self, state: WorkflowState) -> Policy:
        """Go by the settings that the state has in force from here on."""
        self._config = configuration(state, self._loaded)
        way = self._site.way
        self._site = replace(self._site, python=python_of(self._config.site))
        self._scheduler.follow(queues(self._config.site, way, self._shipment.path, self._clock))
        policy = Policy.from_config(self._config)
        if self._effects is not None:
            self._effects.follow(self._runners(), policy.resources)
        return policy

    def _runners(self) -> Mapping[Phase, PhaseRunner]:
        return phase_runners(
            self._config, {path: supply.ref for path, supply in self._supplies.items()}
        )

    def _manager(
        self,
        journal: FileJournal,
        state: WorkflowState,
        observers: Sequence[Observer],
        since: tuple[datetime, float],
    ) -> WorkflowManager:
        self._config = configuration(state, self._loaded)
        self._bring(supplies(self._config))
        self._bring(kept(self._config, state))
        policy = self._follow(state)
        self._effects = Effects(
            self._runners(),
            self._scheduler,
            self._site.way.transport,
            self._clock,
            prepare=self._prepare_site,
            resources=policy.resources,
            keep=self._deeds.keep if self._deeds is not None else None,
        )
        return WorkflowManager(
            state=state,
            policy=policy,
            journal=journal,
            effects=self._effects,
            scheduler=self._scheduler,
            transport=self._site.way.transport,
            watcher=self._site.way.watcher,
            clock=self._clock,
            poll_interval_s=self._config.site.poll_interval,
            observers=observers,
            save=lambda state: self._save(journal, state),
            since=since,
            configure=self._follow,
        )

    async def _fetch_leftovers(self, files: Sequence[FileRef]) -> None:
        async for contents in read_pages(self._site.way.transport, [file.path for file in files]):
            await asyncio.to_thread(keep_copies, files, contents, folder_of_leftovers(self._config))

    def _save(self, journal: FileJournal, state: WorkflowState) -> None:
        save_state(self._folder / "state.json", state)
        journal.snapshot(state)
        give_memory_back()

    def _history(self, after: int) -> Iterator[tuple[int, ev.Event]]:
        return ((record.seq, record.event) for record in read(self._folder / "journal", after))

    def _tell_systemd(self, _: ev.Event, state: WorkflowState) -> None:
        self._notifier.status(status_text(state))

    def _log_in_again(self, event: ev.Event, _: WorkflowState) -> None:
        """Who resumes says that what was wrong is mended."""
        if isinstance(event, ev.Resumed):
            self._site.way.login_again()

    def _exit_code(self, state: WorkflowState) -> int:
        if not self._exit_on_verdict:
            return 0
        return VERDICT_EXIT_CODES[state.verdict] if state.verdict else STOPPED_EARLY_EXIT_CODE
