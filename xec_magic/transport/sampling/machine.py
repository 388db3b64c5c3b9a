"""This whole machine: processors, memory, storage, network, by way of psutil."""

from __future__ import annotations

import os
import time

import psutil

from xec_magic.events import Sample

__all__ = ["MachineReader"]


class MachineReader:
    """Reads what is in use of this machine. Counters of storage and network are of all devices but loops."""

    def read(self, run_id: str) -> Sample | None:
        """What is in use now."""
        at = time.monotonic()
        cpu = psutil.cpu_times()
        memory = psutil.virtual_memory()
        try:
            disks = psutil.disk_io_counters()
        except (OSError, RuntimeError, ValueError):  # a container without that part of /proc
            disks = None
        try:
            links = {
                name: link for name, link in psutil.net_io_counters(pernic=True).items() if not name.startswith("lo")
            }
        except OSError:
            links = {}
        # Waiting for storage is no work; the time of guests is in that of users already.
        busy = sum(cpu[:3]) + getattr(cpu, "irq", 0.0) + getattr(cpu, "softirq", 0.0)
        return Sample(
            run_id, at, busy, memory.total - memory.available,
            disks.read_bytes if disks else None, disks.write_bytes if disks else None,
            processes=None,
            received_bytes=sum(link.bytes_recv for link in links.values()) if links else None,
            sent_bytes=sum(link.bytes_sent for link in links.values()) if links else None,
            load=os.getloadavg()[0],
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is open."""


def size_of_machine() -> tuple[int, int]:
    """How many cores this machine has, and how many bytes of memory."""
    return os.cpu_count() or 1, int(psutil.virtual_memory().total)
