"""What a node costs while nobody wants anything of it: memory, and processor time.

Two connected nodes, both offering compute, left alone; the one that is not the anchor is measured over a
minute. Memory is what the node holds resident at the end (RSS); a warm sandbox child, should there be one,
is given beside it as what only it uses (USS).

Reference: a process that has imported libp2p and trio and sleeps: what the network library alone takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import psutil

from benchmarks.nodes import network

TARGET_MB = 150
TARGET_CPU_PERCENT = 2.0
SETTLE_S = 5.0
BARE = "import libp2p, trio; print('up', flush=True); trio.run(trio.sleep_forever)"


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """(megabytes resident, percent of a core) over `seconds`."""
    before, begun = cpu_s(process), time.perf_counter()
    time.sleep(seconds)
    percent = 100 * (cpu_s(process) - before) / (time.perf_counter() - begun)
    return process.memory_info().rss / 1e6, percent


def bare(seconds: float) -> tuple[float, float]:
    with subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            return measure(psutil.Process(process.pid), seconds)
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    with network(["anchor", "worker"]) as players:
        process = psutil.Process(players["worker"].process.pid)
        time.sleep(SETTLE_S)
        megabytes, percent = measure(process, seconds)
        children = [child.memory_full_info().uss / 1e6 for child in process.children()]
        anchor = psutil.Process(players["anchor"].process.pid).memory_info().rss / 1e6
    bare_megabytes, bare_percent = bare(min(seconds, 5.0))
    found = {
        "seconds": seconds,
        "node_mb": round(megabytes, 1),
        "anchor_mb": round(anchor, 1),
        "template_mb": round(sum(children), 1),
        "libp2p_alone_mb": round(bare_megabytes, 1),
        "target_mb": TARGET_MB,
        "cpu_percent": round(percent, 2),
        "libp2p_alone_cpu_percent": round(bare_percent, 2),
        "target_cpu_percent": TARGET_CPU_PERCENT,
    }
    print(f"idle node        {found['node_mb']} MB   {found['cpu_percent']} % of a core")
    print(f"libp2p alone     {found['libp2p_alone_mb']} MB   {found['libp2p_alone_cpu_percent']} % of a core")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
