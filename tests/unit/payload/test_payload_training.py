"""Training on real labels with the real tools."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyace", reason="needs the demo extra")

from ase import Atoms
from payload_stand import Fitted, fit_once, job_of, labelled, strained_copper, train_parameters, training_set

from mlip_autopipec.payload import training
from mlip_autopipec.payload.ace import Evaluator
from mlip_autopipec.payload.frame import TaskFailed
from mlip_autopipec.payload.structures import read_frames, write_frames

pytestmark = pytest.mark.codes


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


def test_x(fitted):
    print(fitted.metrics)
