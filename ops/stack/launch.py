"""Start a command so that it dies with its parent, or so that it outlives it. Run by path, needs no import of Freshet.

    python -I -S launch.py with-parent PID COMMAND...   exec COMMAND; the kernel kills it when process PID dies (Linux)
    python -I -S launch.py detached LOG COMMAND...      print the new pid; COMMAND runs in its own session, output to LOG

A wrapper instead of `preexec_fn`: Python code between fork and exec can deadlock in a process with threads.
On macOS there is no PR_SET_PDEATHSIG: after `kill -9` of a supervisor its children stay until `freshet down`.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent dies; exit at once if it is dead already."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent died before the command started")


def detach(log: str) -> None:
    """Go on in a new process in its own session, its output in `log`; the first one prints the new pid and exits."""
    os.setsid()
    if child := os.fork():
        print(child, flush=True)
        os._exit(0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def main(mode: str, argument: str, command: list[str]) -> None:
    """Apply the mode and become the command."""
    if mode == "detached":
        detach(argument)
    else:
        die_with(int(argument))
    # Python ignores these two and exec would pass that on to servers that do not expect it.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 (a fixed command, no shell)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
