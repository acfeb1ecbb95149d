"""The command line: the one place that prints.

Each worker process imports the main module anew, so nothing is imported here before :func:`main` is called.
"""


def main() -> int:
    """Run the command that this process was started with; the exit code."""
    import os
    import signal
    import sys

    from strongroom.cli.streams import ready_streams

    if os.getpid() == 1:
        # The first process of a container gets no signal that it does not handle: one that is to end before it can do
        # so in good order would run on until it is killed.
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    if sys.argv[1:2] in (["server"], ["gateway"]):
        # A reload that comes before all is loaded would end a server, and systemd takes that for an end as asked. What
        # it asks for is done by the start.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ready_streams()
    try:
        from strongroom.cli.commands import run
    except KeyboardInterrupt:  # Ctrl-C before all is loaded: nothing has begun
        return 130
    return run()
