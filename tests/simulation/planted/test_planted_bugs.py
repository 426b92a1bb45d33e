"""The simulation finds each of these mistakes in its own seeds' climates and says what is wrong."""

from dataclasses import dataclass

import planted_bugs as bugs
import pytest
from kit.simulated import Parts, Simulation, behind_slurm, in_memory

from mlip_autopipec.testing.weather import FaultRates

#: Of those that test_simulation_crashes runs.
SEEDS = range(300)
SEEDS_SLOW, SEEDS_LATE, SEEDS_ROUNDS = SEEDS[0::8], SEEDS[4::8], SEEDS[0::3]
#: From the first that goes on from a verdict after whole cycles.
SEEDS_REOPENED = SEEDS[14:]
#: Where people change the site file.
SEEDS_EDITED = range(2, 300, 7)
#: That begin with a data set of the user's; with one that the oracle does not agree with; with a
#: pool, or a potential.
SEEDS_DATASET, SEEDS_SHIFTED, SEEDS_POOL = range(1, 300, 11), range(4, 300, 11), range(6, 300, 11)
SEEDS_START = range(8, 300, 11)


@dataclass(frozen=True)
class Planted:
    """A mistake, and the words by which it must be found."""

    parts: Parts
    message: str
    seeds: range = SEEDS
    #: Where it was found last, which is tried first: the others take seconds.
    first: int | None = None


PLANTED = {
    "acts before the fsync": Planted(Parts(journal=bugs.AcknowledgesEarly), "on the disk"),
    "tries again when unclear": Planted(Parts(effects=bugs.TriesAgainWhenUnclear), "was not over"),
    "takes silence for death": Planted(
        Parts(effects=bugs.TakesSilenceForDeath), "was not over", SEEDS_SLOW
    ),
    "looks before it asks": Planted(
        Parts(effects=bugs.LooksBeforeItAsks), "was done by", SEEDS_SLOW
    ),
    "believes the first word of death": Planted(
        Parts(effects=bugs.BelievesTheFirstWordOfDeath), "was done by", SEEDS_LATE
    ),
    "never comes back": Planted(Parts(effects=bugs.NeverComesBack), "no verdict"),
    "trusts an empty squeue": Planted(Parts(manager=bugs.TakesAbsenceForDeath), "was not over"),
    "trusts the wall clock": Planted(
        Parts(manager=bugs.TrustsTheWallClock), "was done by", SEEDS_LATE
    ),
    "refuses what comes early": Planted(Parts(manager=bugs.RefusesWhatComesEarly), "was done by"),
    "starts twice": Planted(
        Parts(manager=bugs.StartsTwice), "the daemon died by itself: IllegalTransition"
    ),
    "works through pauses": Planted(Parts(manager=bugs.WorksThroughPauses), "while paused"),
    "forgets a pause on restart": Planted(Parts(replay=bugs.forgets_pauses), "while paused"),
    "remembers what nobody wrote": Planted(
        Parts(manager=bugs.RemembersWhatNobodyWrote), "another state"
    ),
    "says void at once": Planted(Parts(site=in_memory(bugs.SaysVoidAtOnce)), "was not over"),
    "leaves the gate open": Planted(
        Parts(site=behind_slurm(bugs.LeavesTheGateOpen)), "was not over"
    ),
    "writes where others write": Planted(
        Parts(site=in_memory(bugs.WritesWhereOthersWrite)), "is not what its outcome said", first=10
    ),
    "seals too late": Planted(
        Parts(site=behind_slurm(bugs.SealsTooLate)), "was given up and leaves an outcome", first=27
    ),
    "journals an outcome before it judges": Planted(
        Parts(manager=bugs.BelievesWhatItReads), "is done in the journal", first=6
    ),
    "believes another campaign's outcome": Planted(
        Parts(manager=bugs.BelievesWhatItReads), "ended by an outcome of", first=10
    ),
    "lets a step of the clock close a round": Planted(
        Parts(manager=bugs.LetsAStepCloseARound), "a round was closed after", SEEDS_ROUNDS
    ),
    "believes another program's snapshot": Planted(
        Parts(replay=bugs.believes_another_programs_snapshot), "another state"
    ),
    "forgets a label": Planted(Parts(runners=bugs.forgetful_runners), "does not read"),
    "counts a label twice": Planted(Parts(runners=bugs.repeating_runners), "reads again"),
    "counts a late label twice": Planted(
        Parts(runners=bugs.double_counting_runners), "reads again", SEEDS_ROUNDS
    ),
    "leaves late labels lying": Planted(
        Parts(runners=bugs.punctual_runners), "does not read", SEEDS_ROUNDS
    ),
    "takes the site's faults for the tasks'": Planted(
        Parts(effects=bugs.TakesTheSitesFaultsForTheTasks), "counts against its task"
    ),
    "takes a typing error for the tasks'": Planted(
        Parts(effects=bugs.TakesATypingErrorForTheTasks), "counts against its tasks"
    ),
    "forgets sick nodes": Planted(Parts(effects=bugs.ForgetsSickNodes), "is not kept from"),
    "goes on in trouble": Planted(
        Parts(manager=bugs.GoesOnInTrouble), "while the site is in trouble"
    ),
    "ignores the mended file": Planted(
        Parts(restart=bugs.ignores_the_mended_file), "paused for it still"
    ),
    "counts what passes": Planted(
        Parts(effects=bugs.CountsWhatPasses), "no failure of it was its own"
    ),
    "names no node": Planted(Parts(effects=bugs.NamesNoNode), "no node is named"),
    "lets no node back in": Planted(Parts(effects=bugs.LetsNoNodeBackIn), "is kept from", first=10),
    "ends with the partition": Planted(
        Parts(effects=bugs.EndsWithThePartition), "failed through a passing fault"
    ),
    "takes unknown words for the tasks'": Planted(
        Parts(effects=bugs.TakesUnknownWordsForTheTasks), "counts against its tasks"
    ),
    "asks nobody": Planted(
        Parts(manager=bugs.AsksNobody, rates=FaultRates(broken=0.1)),
        "in a row, and nobody was asked",
    ),
    "blames who is alone": Planted(
        Parts(manager=bugs.BlamesWhoIsAlone, rates=FaultRates(broken=0.1)),
        "alone in its phase, and nobody was asked",
    ),
    "reads the site file once": Planted(
        Parts(site=behind_slurm(bugs.ReadsTheSiteFileOnce)), "was mended before"
    ),
    "reads no foreign lines": Planted(
        Parts(site=behind_slurm(bugs.ReadsNoForeignLines)), "no verdict"
    ),
    "forgets data sets when reopened": Planted(
        Parts(runners=bugs.amnesic_runners), "reads [], expected", SEEDS_REOPENED
    ),
    "loses a label when reopened": Planted(
        Parts(runners=bugs.label_losing_runners), "does not read", SEEDS_REOPENED
    ),
    "plans by the settings of before": Planted(
        Parts(manager=bugs.PlansByTheSettingsOfBefore), "K are in force", SEEDS_EDITED, first=121
    ),
    "reads its settings once": Planted(
        Parts(manager=bugs.ReadsItsSettingsOnce), "in force", SEEDS_EDITED, first=72
    ),
    "leaves the file to the next": Planted(
        Parts(restart=bugs.leaves_the_file_to_the_next),
        "goes by the old one",
        SEEDS_EDITED,
        first=58,
    ),
    "counts quiet cycles of before": Planted(
        Parts(taking=bugs.counts_quiet_cycles_of_before),
        "were not walked twice",
        SEEDS_EDITED,
        first=37,
    ),
    "leaves added structures lying": Planted(
        Parts(runners=bugs.negligent_runners), "leaves out what was added", SEEDS_EDITED
    ),
    "labels added structures again": Planted(
        Parts(runners=bugs.eager_runners), "labels again", SEEDS_EDITED, first=58
    ),
    "prepares the site once": Planted(
        Parts(effects=bugs.PreparesTheSiteOnce), "not on the site", SEEDS_EDITED
    ),
    "keeps what was set aside": Planted(
        Parts(returning=bugs.keeps_what_was_set_aside), ", expected [", SEEDS_EDITED
    ),
    "loses labels on the way back": Planted(
        Parts(returning=bugs.loses_labels_on_the_way), "on the way back to", SEEDS_EDITED, first=65
    ),
    "counts adopted labels again after a way back": Planted(
        Parts(runners=bugs.again_adopting_runners), "reads the labels of the user", SEEDS_DATASET
    ),
    "loses a label of the check": Planted(
        Parts(runners=bugs.check_losing_runners), "does not read", SEEDS_DATASET
    ),
    "adopts what is refused": Planted(
        Parts(runners=bugs.credulous_runners, manager=bugs.AsksNobodyOfTheDataSet),
        "the oracle does not agree with it",
        SEEDS_SHIFTED,
    ),
    "does not wait for the check": Planted(
        Parts(manager=bugs.DoesNotWaitForTheCheck), "before the oracle has been held", SEEDS_SHIFTED
    ),
    "begins from the given potential again": Planted(
        Parts(runners=bugs.beginning_runners), "from the potential of the user", SEEDS_START
    ),
    "offers what is labelled": Planted(
        Parts(runners=bugs.offering_runners), "offers again", SEEDS_POOL
    ),
    "counts a halt as completion": Planted(
        Parts(runners=bugs.hasty_runners), "converged, and walkers ended so"
    ),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_bug_is_found(planted: Planted) -> None:
    """By its own words, in one of the seeds that the tests run."""
    for seed in sorted(planted.seeds, key=lambda seed: seed != planted.first):
        found = Simulation(seed, planted.parts).run()
        if any(planted.message in violation for violation in found.violations):
            return
    pytest.fail(f"not found in {len(planted.seeds)} seeds")
