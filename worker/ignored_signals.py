"""What a forkserver imports first: from then on signals to the whole group are left to the supervisor.

Systemd, `timeout` and Ctrl-C in a script send SIGTERM to all. A forkserver that ends of it makes its children
look dead, which are saving what they have. It ends when its supervisor does, by its pipe.
"""

import signal

for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_IGN)
