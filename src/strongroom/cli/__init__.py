"""The command line: the one place that prints.

Each worker process imports the main module anew, so nothing is imported here before :func:`main` is called.
"""


def main() -> int:
    """Run the command that this process was started with; the exit code."""
    from strongroom.cli.streams import ready_streams

    ready_streams()
    from strongroom.cli.commands import run

    return run()
