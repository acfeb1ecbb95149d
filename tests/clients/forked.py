"""Runs a program that is written in Python, each time in a fork of this process, which has loaded its modules before:
``forked.py SOCKET SCRIPT MODULE…``. For loading them, aws-cli takes two thirds of a call's time.

The program's own Python runs this, so nothing of ours is imported here. :mod:`tests.clients.programs` is at the other
end of the socket, and sends a document with each call's arguments, environment and directory, and its three files.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import sys


def serve(calls: socket.socket, script: str) -> None:
    """Answer each call with the exit code of the program; return in the program's own process, to run it."""
    while True:
        text, files, _, _ = socket.recv_fds(calls, 1024**2, 3)
        if not text:
            sys.exit()
        child = os.fork()
        if not child:
            break
        for file in files:
            os.close(file)
        calls.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    calls.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    call = json.loads(text)
    os.environ.update(call["environment"])  # to what the modules have set there
    os.chdir(call["directory"])
    sys.argv = [script, *call["arguments"]]


if __name__ == "__main__":
    _, number, script, *modules = sys.argv
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # else each fork goes through it all, and gets a copy
    serve(socket.socket(fileno=int(number)), script)
    runpy.run_path(script, run_name="__main__")
