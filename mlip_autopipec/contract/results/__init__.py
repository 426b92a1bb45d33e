"""What the work half says of a done task, by its kind; it stands as `metrics` in outcome.json."""

from mlip_autopipec.contract.results.explore import ExploreMetrics
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.train import TrainMetrics

AnyMetrics = GenerateMetrics | ExploreMetrics | SelectMetrics | CalculateMetrics | TrainMetrics
