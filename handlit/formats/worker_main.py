"""The main module of worker processes (`handlit.formats.worker_pool`): each ends with the process that started it.

It is what such a process imports first, before anything that takes long.
"""

import ctypes
import multiprocessing
import os
import signal
import sys

#: Linux's ``prctl``: the signal that the kernel sends to a process when the thread that started it is gone.
_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """End this process as soon as its parent has ended, whatever ended it; for Linux.

    A signal of the kernel: a thread that looks after the parent waits while a library is loaded.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # it may have ended before
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__mp_main__":
    # an interrupt from the keyboard reaches all processes: the parent ends its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(int(multiprocessing.current_process().name.rpartition(" ")[2]))
