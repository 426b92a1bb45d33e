"""pacemaker's nonlinear fit, as a trainer."""

from mlip_autopipec.contract.trainer import TrainerCode

TRAINER = TrainerCode(
    package=__name__,
    keys="mlip_autopipec.contract.train:PacemakerSettings",
    rules=".rules:PacemakerRules",
    run=".fits:fits",
    examine=".doctor:examine",
    about="pacemaker",
    remedy=(
        "training.pacemaker.python wants a Python with pacemaker and TensorFlow: scripts/codes"
        " makes one"
    ),
)
