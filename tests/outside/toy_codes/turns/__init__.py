"""A scheduler that runs so many tasks at a time, and writes down what it was asked."""

from mlip_autopipec.schedulers.seam import SchedulerCode

SCHEDULER = SchedulerCode(
    package=__name__,
    settings=".settings:TurnsSection",
    make=".queue:make",
    limit=".queue:limit",
    examine=".queue:examine",
)
