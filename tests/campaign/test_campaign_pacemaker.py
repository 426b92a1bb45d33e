"""A campaign whose potential pacemaker fits, from bootstrap over a warm start to its verdict."""

import os
from pathlib import Path

import pytest
from kit.daemons import Campaign, assert_nothing_doubled_or_lost, assert_replays
from kit.files import NO_PROPERTIES

from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.digest import CalculationDigest, TrainingDigest
from mlip_autopipec.data_models.events import PhaseEnded, TaskEnded, VerdictReached

PYTHON = Path(
    os.environ.get(
        "AUTOPIPEC_PACEMAKER_PYTHON", Path(__file__).parents[2] / ".venv-pacemaker/bin/python"
    )
)
pytestmark = [
    pytest.mark.codes,
    pytest.mark.campaign,
    pytest.mark.pacemaker,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the Python that scripts/codes makes"),
]
#: Few functions and iterations: what a campaign adds to a fit is shown as well by a poor potential.
PACEMAKER = f"{{python: {PYTHON}, scratch_every: null, stages: [{{kappa: 0.5, iterations: 12}}]}}\n"
CHANGES = (
    (
        "training:\n",
        "training:\n  trainer: pacemaker\n  reference_energies_ev: isolated_atoms\n  pacemaker: "
        + PACEMAKER,
    ),
    ("functions_per_element: 20", "functions_per_element: 8"),
    ("temperatures_kelvin: [300, 900]", "temperatures_kelvin: [900]"),
    ("steps: 100", "steps: 40"),
    ("cycles_max: 6", "cycles_max: 1"),
    (NO_PROPERTIES, ""),
)


def test_a_campaign_with_pacemaker_runs_to_its_verdict(tmp_path: Path) -> None:
    """The second fit goes on from the first.

    Both are beside the energy of the isolated atom, which is in neither.
    """
    campaign = Campaign.small(tmp_path)
    text = campaign.config.read_text()
    for old, new in CHANGES:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    campaign.config.write_text(text)
    campaign.to_verdict(timeout_s=800)
    events = campaign.events()
    outcomes = [event.outcome for event in events if isinstance(event, TaskEnded)]
    fits = [outcome.metrics for outcome in outcomes if isinstance(outcome.metrics, TrainMetrics)]
    assert [[fit.start for fit in item.fits] for item in fits] == [["scratch"], ["warm"]], (
        campaign.output()
    )
    assert [fit.reference_energies_ev for fit in fits] == [{"Cu": pytest.approx(3.51)}] * 2
    assert all(len(fit.loss) > 3 for fit in fits)
    assert fits[1].loss[0][2] < fits[0].loss[0][2]
    digests = [event.digest for event in events if isinstance(event, PhaseEnded)]
    trained = [digest for digest in digests if isinstance(digest, TrainingDigest)]
    assert {measure.rule for measure in trained[0].measures} >= {
        "lattice_constant",
        "bulk_modulus",
        "md",
    }
    assert all(rule.current is not None for rule in trained[1].rules if rule.rule.endswith("error"))
    assert [fit.element for fit in trained[1].calibration] == ["Cu"]
    labels = [
        label
        for digest in digests
        if isinstance(digest, CalculationDigest)
        for label in digest.labels
    ]
    roles = [label.role for label in labels]
    assert roles.count(Role.ISOLATED_ATOM) == 1
    assert fits[0].train.structures == 6
    assert fits[1].train.structures == roles.count(Role.TRAIN)
    assert fits[1].test.structures == roles.count(Role.TEST)
    verdict = next(event for event in events if isinstance(event, VerdictReached))
    assert verdict.verdict in {Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED}
    assert_nothing_doubled_or_lost(campaign)
    assert_replays(campaign)
