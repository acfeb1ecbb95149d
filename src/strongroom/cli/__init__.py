"""The command line: the only package that prints.

Each worker process imports the main module again, so nothing is imported here before :func:`main` is called.
"""


def main() -> int:
    """Run the command that this process was started with. Returns the exit code."""
    import os
    import signal
    import sys

    from strongroom.cli.streams import ready_streams

    if os.getpid() == 1:
        # The kernel does not deliver signals to the first process of a container unless it handles them. Without this,
        # a process that is told to end while it is loading would run on until it is killed.
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    if sys.argv[1:2] in (["server"], ["gateway"]):
        # SIGHUP (reload) would end a server that is still loading, and systemd would take that for a clean exit. It can
        # be ignored: what it asks for, reading the certificate, is still to come.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ready_streams()
    try:
        from strongroom.cli.commands import run
    except KeyboardInterrupt:  # Ctrl-C while loading: nothing has begun
        return 130
    return run()
