"""Other programs, run with an end in sight."""

import subprocess
import time


class Budget:
    """Seconds that a run may take, counted from here."""

    def __init__(self, seconds):
        self.start, self.seconds = time.monotonic(), seconds

    def spent(self):
        return time.monotonic() - self.start

    def left(self):
        return self.seconds - self.spent()


def run(command, timeout):
    """(standard output, "") of a command that succeeds within `timeout` seconds, else ("", why not)."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return "", f"stopped after {timeout:.0f} s"
    except OSError as error:
        return "", f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return done.stdout, ""
    lines = done.stderr.strip().splitlines()
    return "", lines[-1] if lines else f"exit code {done.returncode}"
