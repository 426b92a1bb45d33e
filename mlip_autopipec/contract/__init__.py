"""What both halves say to each other: every setting with its bound, default and meaning, once.

Standard library only. The control half judges by it what comes from outside, through pydantic,
which reads these dataclasses as they are; the work half reads a task's parameters into the same
dataclasses, so that mypy finds a name that nobody has.
"""
