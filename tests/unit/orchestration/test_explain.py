"""explain: whatever the state, it says where the campaign stands and what it waits for."""

from datetime import timedelta

from kit.stages import ADA, legal, walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.digest import ExplorationDigest, GammaLevels
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.orchestration.explain import explain
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk


def said(campaign: Walk) -> str:
    """All of it, one sentence per line."""
    return "\n".join(explain(campaign.state, campaign.policy, campaign.now))


def test_it_has_words_for_every_state() -> None:
    """Whole sentences describe each state of the machine's grid, before and after its event."""
    campaign = walk()
    for state, _ in legal():
        lines = explain(state, campaign.policy, campaign.now)
        assert lines
        assert all(line.strip() == line and line for line in lines)


def test_an_empty_journal_is_no_campaign() -> None:
    """Nothing has been created."""
    campaign = walk()
    assert explain(WorkflowState(), campaign.policy, campaign.now) == (
        "No campaign has been created yet.",
    )


def test_between_two_phases_it_names_the_next_command() -> None:
    """What is due is said by its command."""
    assert said(walk()) == (
        "Cycle 0 is between two phases (last: none yet).\nNext: PlanPhase (campaign)."
    )


def test_a_phase_is_counted_out() -> None:
    """Tasks are counted by where they stand, and a batch by what the scheduler shows."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    sighting = ev.Sighting(job_name=batch.job_name, index=1, state=ev.JobState.RUNNING)
    campaign.tell(
        campaign.ended(batch.job_name, 0), ev.JobsSighted(at=campaign.now, sightings=(sighting,))
    )
    assert said(campaign) == (
        f"Cycle 0, calculation: 2 submitted, 1 done.\n{batch.job_name} is job 4711: 1 not seen"
        " yet, 1 running."
    )


def test_a_pause_is_named_with_who_when_and_why() -> None:
    """The first thing that a person forgets."""
    campaign = walk()
    campaign.planned(Phase.CALCULATION)
    campaign.tell(ev.Paused(at=campaign.now, by=ADA, reason="maintenance"))
    assert "Paused by ada since 2030-01-01 00:" in said(campaign)
    assert "UTC: maintenance. Nothing new is submitted." in said(campaign)
    nameless = ADA.model_copy(update={"name": ""})
    campaign.tell(ev.Paused(at=campaign.now, by=nameless))
    assert "Paused by uid 1000 since" in said(campaign)


def test_a_lost_answer_and_a_deferral_are_named() -> None:
    """Why a batch does not move."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    job_name = next(iter(campaign.state.batches))
    assert f"{job_name} is about to be submitted (1 tasks)." in said(campaign)
    campaign.tell(
        ev.SubmissionUnclear(at=campaign.now, job_name=job_name, message="timed out"),
        ev.EffectDeferred(
            at=campaign.now,
            subject=f"batch:{job_name}",
            message="no answer",
            until=campaign.now + timedelta(hours=1),
        ),
    )
    assert f"{job_name}: the scheduler's answer was lost; it is being looked up." in said(campaign)
    assert f"batch:{job_name} is put off until 01:" in said(campaign)
    assert "(time 1): no answer" in said(campaign)
    assert "Next:" not in said(campaign)


def test_a_site_that_does_not_answer_is_named() -> None:
    """With the words of the fault."""
    campaign = walk()
    campaign.tell(
        ev.SiteChanged(
            at=campaign.now, health=ev.SiteHealth.AUTH_REQUIRED, message="the key has expired"
        )
    )
    assert "The site is auth_required: the key has expired" in said(campaign)


def test_the_levels_of_gamma_are_named() -> None:
    """While walkers walk; and afterwards, where a target in force has set them."""
    campaign = walk()
    campaign.planned(Phase.EXPLORATION, 1)
    assert "Walkers collect frames of every γ, and halt above γ 1e+05." in said(campaign)
    config = copper_config(selection={"acquisition": "gamma_window"})
    window = Walk(config, phase_runners(config))
    window.planned(Phase.EXPLORATION, 1)
    assert "Walkers collect frames above γ 2, and halt above γ 10." in said(window)
    aimed = GammaLevels(select=3, halt=15, force_error_target_mev_per_angstrom=50, expected_at=3)
    for levels, message in ((aimed, True), (GammaLevels(select=2, halt=10), False)):
        digests = {Phase.EXPLORATION: ExplorationDigest(walkers=(), frames=(), levels=levels)}
        state = campaign.state.model_copy(update={"digests": digests})
        text = explain(state, campaign.policy, campaign.now)
        assert (
            "Walkers had γ select 3, γ halt 15: 50 meV/Å are expected at γ 3." in text
        ) is message


def test_the_end_is_named_with_its_reason() -> None:
    """And so is the way on from it."""
    campaign = walk()
    campaign.tell(
        ev.VerdictReached(at=campaign.now, verdict=Verdict.STALLED, reason="nothing new.")
    )
    message = said(campaign)
    assert message.startswith("The campaign has ended: stalled. nothing new. ")
    assert "autopipecctl reopen --reason" in message
    assert "mended or larger site file" in message
