"""A server under measurement: its processes, the processor time they have used, the memory they have held at most."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


class Running:
    """A server that was started in a process group of its own. It is stopped (SIGSTOP) while others are measured."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
        self._log = log

    def wait_for(self, url: str, authority: Path | None = None, well: bool = False) -> None:
        """Wait until ``url`` answers anything; ``well``: no error. Raises RuntimeError with the log where it ends or
        never does.
        """
        trust = ssl.create_default_context(cafile=authority)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(url, timeout=2, context=trust).close()
            except urllib.error.HTTPError:
                if not well:
                    return
            except OSError:
                pass  # it does not listen yet
            else:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self._process.args!r} did not start:\n{self._log.read_text()[-2000:]}")

    def pause(self) -> None:
        """Let it use no processor time."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self.resume()
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def processor_seconds(self) -> float:
        """Processor time that all its processes have used, in user and system mode."""
        total = 0
        for pid in self._tree(self._process.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICK

    def peak_bytes(self) -> int:
        """The largest resident set that any one of its processes has had."""
        peaks = []
        for pid in self._tree(self._process.pid):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks.append(int(line.split()[1]) * 1024)
        return max(peaks)

    def _tree(self, pid: int) -> list[int]:
        found = [pid]
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += self._tree(int(child))
        return found
