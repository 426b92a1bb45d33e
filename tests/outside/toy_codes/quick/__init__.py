"""A trainer in a few lines: least squares with a penalty, on the linear basis."""

from mlip_autopipec.contract.trainer import TrainerCode

TRAINER = TrainerCode(
    package=__name__,
    settings=".settings:QuickTrainer",
    rules=".rules:Rules",
    run=".run:fits",
    examine=".run:examine",
    about="quick",
    remedy="take training.trainer: linear",
)
