"""What systemd keeps from a daemon, and so from the jobs of its machine."""

from mlip_autopipec.process import may_run_what_it_wrote

__all__ = ["may_run_what_it_wrote"]
