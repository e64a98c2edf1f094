"""How much memory this process has."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def resident_bytes() -> int | None:
    """What is in memory of this process, in bytes; None where the system does not tell."""
    try:
        return _told()
    except (OSError, ValueError, IndexError):
        return None


if sys.platform == "linux":

    def _told() -> int | None:
        """See proc(5), statm."""
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS."""

        _fields_ = (
            ("size", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            ("peak_working_set", ctypes.c_size_t),
            ("working_set", ctypes.c_size_t),
            ("quotas", ctypes.c_size_t * 4),
            ("page_file", ctypes.c_size_t),
            ("peak_page_file", ctypes.c_size_t),
        )

    def _told() -> int | None:
        """See GetProcessMemoryInfo: the working set."""
        kernel = ctypes.WinDLL("kernel32")
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        counters = _Counters(size=ctypes.sizeof(_Counters))
        process, size = wintypes.HANDLE(kernel.GetCurrentProcess()), wintypes.DWORD(counters.size)
        return counters.working_set if kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), size) else None

else:

    def _told() -> int | None:
        """See ps(1), rss."""
        import subprocess

        command = ["/bin/ps", "-o", "rss=", "-p", str(os.getpid())]
        return int(subprocess.run(command, capture_output=True, check=False).stdout) << 10
