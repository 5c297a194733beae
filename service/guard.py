"""Runs one command so that none of its processes outlives the launcher, even if that is killed with SIGKILL.

A standalone program, standard library only, started by path: `guard.py [--shielded] LIFELINE_FD COMMAND…`.
The launcher holds the other end of the lifeline, a pipe. When it closes, or when the command ends, the guard
kills the command's whole process group. If the guard itself is killed, the kernel kills the command
(PR_SET_PDEATHSIG).

SIGTERM may reach more than the launcher: `timeout` sends it to the process group, systemd to all processes.
A shielded command, such as Redis, then runs on until the launcher has ended those that need it.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
ENDING = {signal.SIGTERM, signal.SIGINT}


def main(lifeline: int, command: list[str], *, shielded: bool) -> int:
    """Run `command` and return its exit code; 128 + n if signal n killed it.

    SIGTERM is forwarded to it. If it is shielded, only the lifeline ends it.
    """
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGINT, signal.SIGHUP):  # the terminal also signals the launcher, which decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    guard = os.getpid()

    def bind_to_guard() -> None:
        """Run in the child, before the command."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # the guard died before prctl took effect
            os._exit(1)
        if not shielded:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    # until there is a process to forward it to; a shielded one inherits the mask, which Redis leaves as it is
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    process = subprocess.Popen(  # noqa: S603 — the command is the launcher's own
        command, start_new_session=True, preexec_fn=bind_to_guard
    )
    if not shielded:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        while process.poll() is None:
            readable, _, _ = select.select([lifeline, wake], [], [])
            if lifeline in readable:
                break
            os.read(wake, 4096)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    is_shielded = sys.argv[1] == "--shielded"
    lifeline_fd, *guarded_command = sys.argv[1 + is_shielded :]
    sys.exit(main(int(lifeline_fd), guarded_command, shielded=is_shielded))
