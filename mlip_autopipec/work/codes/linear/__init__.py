"""One ridge regression on a linear basis, as a trainer."""

from mlip_autopipec.contract.trainer import TrainerCode

TRAINER = TrainerCode(package=__name__, rules=".rules:LinearRules", run=".fits:fits")
