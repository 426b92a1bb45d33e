"""Rules of the section `site`."""

from collections.abc import Iterator, Mapping

from mlip_autopipec.config.schemas.schedulers import OF_QUEUES, SchedulerSection
from mlip_autopipec.config.schemas.site import ResourcesSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract import registry
from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.data_models.base import RunsOn

#: As ResourcesSection has them.
_IN_ORDER = [key for key in ResourcesSection.model_fields if key in OF_QUEUES]


def _sections() -> Mapping[str, type[SchedulerSection]]:
    """The section of each scheduler that there is."""
    return registry.usable("schedulers", "section")


def cores(config: WorkflowConfig) -> Iterator[Mistake]:
    """What starts tasks without a queue has so many cores for all of them."""
    site = config.site
    for phase, asked in site.resources.items():
        cores, bound = asked.cores * asked.ranks, None
        if asked.where is RunsOn.LOGIN and not site.scheduler.is_the_machine:
            bound = ("site.login_cores", site.login_cores)
        elif (most := site.scheduler.cores_max()) is not None:
            bound = ("site.scheduler.cores", most)
        if bound is not None and cores > bound[1]:
            key = "cores" if asked.ranks == 1 else "ranks"
            expected = f"expected no more than {bound[0]} ({bound[1]})"
            if asked.ranks > 1:
                expected += f" in all, and {asked.ranks} processes of {asked.cores} are {cores}"
            yield Mistake(
                ("site", "resources", phase.value, key), shown(getattr(asked, key)), expected
            )


def without_a_queue(config: WorkflowConfig) -> Iterator[Mistake]:
    """No key may promise what the place where the phase runs cannot keep."""
    site = config.site
    for phase, asked in site.resources.items():
        path = ("site", "resources", phase.value)
        if site.scheduler.is_the_machine and asked.where is RunsOn.LOGIN:
            queues = " or ".join(
                sorted(repr(name) for name, of in _sections().items() if not of.is_the_machine)
            )
            expected = (
                f"expected only with site.scheduler.kind {queues}: without one, every task runs"
                " there anyway"
            )
            yield Mistake((*path, "where"), shown(asked.where.value), expected)
        in_queue = asked.where is RunsOn.QUEUE or site.scheduler.is_the_machine
        why = f"site.scheduler.kind is {site.scheduler.kind!r}" if in_queue else "where is 'login'"
        followed = site.scheduler.follows if in_queue else frozenset()
        followers = {name.capitalize() for name, of in _sections().items() if of.follows}
        plain = type(asked)()
        for key in _IN_ORDER:
            if key in followed:
                continue
            if (value := getattr(asked, key)) != getattr(plain, key):
                given = list(value) if isinstance(value, tuple) else value
                yield Mistake(
                    (*path, key),
                    shown(given),
                    f"expected only for {' or '.join(sorted(followers))} jobs; here {why}",
                )


def ranks(config: WorkflowConfig) -> Iterator[Mistake]:
    """Each node has a process, and more than one process has a launcher."""
    for phase, asked in config.site.resources.items():
        path = ("site", "resources", phase.value)
        if asked.nodes > asked.ranks:
            expected = f"expected no more than ranks ({asked.ranks}): each node needs a process"
            yield Mistake((*path, "nodes"), shown(asked.nodes), expected)
        if asked.ranks > 1 and not asked.launcher:
            expected = (
                "expected with a launcher, such as 'srun' or 'mpirun -np {ranks}': nothing would"
                " start them"
            )
            yield Mistake((*path, "ranks"), shown(asked.ranks), expected)


def extras(config: WorkflowConfig) -> Iterator[Mistake]:
    """What has a key of its own is said by that key: sbatch would take the last of two."""
    for phase, asked in config.site.resources.items():
        for index, line in enumerate(asked.extra):
            word = line.split()[1].partition("=")[0]
            if key := _KEY_OF.get(word):
                path = ("site", "resources", phase.value, "extra", index)
                yield Mistake(
                    path, shown(line), f"expected as the key {key}: {word} is said by that"
                )


_KEY_OF = {
    "--partition": "partition",
    "-p": "partition",
    "--account": "account",
    "-A": "account",
    "--qos": "qos",
    "-q": "qos",
    "--constraint": "constraint",
    "-C": "constraint",
    "--nodes": "nodes",
    "-N": "nodes",
    "--ntasks": "ranks",
    "-n": "ranks",
    "--cpus-per-task": "cores",
    "-c": "cores",
    "--gpus-per-node": "gpus",
    "--mem": "memory",
    "--time": "walltime",
    "-t": "walltime",
}


def reach(config: WorkflowConfig) -> Iterator[Mistake]:
    """A site on another machine is told its root by its full path."""
    site = config.site
    if site.transport.kind != "local" and not site.root.is_absolute():
        yield Mistake(
            ("site", "root"),
            shown(str(site.root)),
            "expected a full path, for it is on another machine",
        )
