"""A forkserver imports this first, to leave signals sent to the process group to the supervisor.

Systemd, `timeout` and Ctrl-C in a script send SIGTERM to the whole group. If it ended the forkserver,
children that are still saving would look dead. The forkserver exits with its supervisor, through its pipe.
"""

import signal

for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_IGN)
