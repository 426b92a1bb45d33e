"""What systemd keeps from a daemon, and so from the jobs of its machine."""

import mmap


def may_run_what_it_wrote() -> bool:
    """Whether memory may be both written and run here, as codes that compile as they run need it."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True
