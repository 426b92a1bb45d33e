"""Whether the Python that is to fit can."""

import re
import sys

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.contract.train import PacemakerSettings
from mlip_autopipec.work.programs import said_by, short

#: TensorFlow takes ten seconds to come up, on a busy login node a minute.
_TIMEOUT_S = 200
_VERSIONS = """
import tensorflow, tensorpotential
from importlib.metadata import version
from pyace.cli import pacemaker
print("pacemaker", version("python-ace"), "with tensorpotential", version("tensorpotential"),
      "and TensorFlow", tensorflow.__version__)
"""


def examine(settings: PacemakerSettings) -> Examined:
    """It imports pacemaker with its TensorFlow, and says their versions."""
    python = settings.python or sys.executable
    said = said_by([python, "-c", _VERSIONS], timeout_s=_TIMEOUT_S)
    found = re.search("^pacemaker .* TensorFlow .*$", said, re.MULTILINE)
    if found is None:
        last = said.strip().rpartition("\n")[2]
        return Examined(fit=False, message=f"{python} has no pacemaker that fits: {short(last)}")
    return Examined(fit=True, message=found[0])
