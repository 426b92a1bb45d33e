"""pacemaker's nonlinear fit, as a trainer."""

from mlip_autopipec.contract.trainer import TrainerCode

TRAINER = TrainerCode(package=__name__, rules=".rules:PacemakerRules", run=".fits:fits")
