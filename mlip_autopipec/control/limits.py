"""Bounds of the control socket: nothing a client does or leaves undone may cost the daemon more."""

from mlip_autopipec.data_models.base import Model


class Limits(Model):
    """The defaults are what the daemon runs with."""

    request_bytes_max: int = 64 * 1024
    clients_max: int = 32
    #: For every answer but a stream of events; a slow disk may take seconds for one fsync.
    answer_timeout_s: float = 30.0
    #: For what reads the site file anew, and every structure file that it names.
    settings_timeout_s: float = 80.0
    #: An open connection that asks nothing is closed after this.
    idle_timeout_s: float = 30.0
    #: A quiet stream says so this often, which is also how soon a client that has gone is noticed.
    heartbeat_s: float = 5.0
    #: A client of a stream that takes nothing for so long is dropped.
    write_timeout_s: float = 30.0
    #: Live events that a client may be behind before it is dropped; one turn of the loop may
    #: publish thousands.
    queue_max: int = 10_000
    shutdown_timeout_s: float = 2.0
