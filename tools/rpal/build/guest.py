#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boots a kernel of ours under QEMU and runs one command in it.

The guest's root is the file system that QEMU sees, read-only by 9p: every
program of the build root is there, and none needs to be packed. The repository
is at its own path. Without a command: a shell on the terminal.
"""

import argparse
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

import klog

REPO = pathlib.Path(__file__).resolve().parents[3]
BUILD = REPO / "build"
INIT = REPO / "tools/rpal/guest/init"

# How long a guest may show no sign of life, without the time that it waits for a
# processor. Generous, since the machine may be slow and busy: it is there so
# that a hung guest does not hang a CI run.
QUIET_MINUTES = float(os.environ.get("RPAL_QUIET_MINUTES") or 15)


# Why a guest was stopped whose kernel has reported what it had no reason to.
MISLED = "KASAN was misled at boot"
BOOTS = 20


class Outcome:
    """What became of a run: status is None if the guest did not report one."""

    def __init__(self, status, reason, output, console):
        self.status = status
        self.reason = reason
        self.output = output
        self.console = console


def qemu_args(flavour, run, *, cpus, threads, cpu, append, icount, memory, nodes, writable, interactive):
    share = lambda tag, path, ro: [
        "-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap" + (",readonly=on" if ro else ""),
        "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
    ]
    repo_flags = "cache=mmap" if writable else "cache=loose,ro"
    sockets = cpus // threads
    # The timer's check at boot counts ticks, and panics if an emulator on a busy machine delivers too few.
    cmdline = (
        "console=ttyS0 panic=-1 tsc=reliable no_timer_check root=root rootfstype=9p ro "
        "rootflags=trans=virtio,version=9p2000.L,msize=512000,cache=loose "
        f"init={INIT} rpal_repo={REPO} rpal_repo_flags={repo_flags} {append}"
    ).replace("  ", " ")
    if flavour == "debug":
        # With the HPET the first ticks come just when KASAN can be misled, see klog.booted_badly().
        cmdline += " hpet=disable"
    args = [
        # A guest whose watcher was killed must not go on by itself.
        "setpriv", "--pdeathsig", "KILL",
        "qemu-system-x86_64", "-machine", "pc", "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot", "-accel", "tcg", "-cpu", cpu, "-smp", f"{cpus},sockets={sockets},cores=1,threads={threads}",
        "-m", memory,
        "-kernel", str(BUILD / f"obj-{flavour}/arch/x86/boot/bzImage"), "-append", cmdline,
        "-serial", f"file:{run}/console.log", "-device", "virtio-serial-pci",
        "-chardev", "stdio,id=out,signal=off" + (",mux=on" if interactive else ""),
        "-device", "virtconsole,chardev=out",
    ]
    if nodes > 1:
        for node in range(nodes):
            args += ["-object", f"memory-backend-ram,id=memory{node},size={megabytes(memory) // nodes}M",
                     "-numa", f"node,nodeid={node},memdev=memory{node}"]
        args += [word for i in range(sockets)
                 for word in ("-numa", f"cpu,node-id={i * nodes // sockets},socket-id={i}")]
    args += share("root", "/", True) + share("repo", REPO, not writable) + share("run", run, False)
    if icount:
        args += ["-icount", "shift=0,sleep=off"]
    return args


def megabytes(memory):
    """Of QEMU's "2G" or "512M"."""
    return int(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]]


def boot(flavour, command=None, **more):
    """Runs command (a bash script) in a new guest; sink(bytes) gets its output as it comes.

    A guest whose boot tests nothing is made again, but not for ever.
    """
    for left in reversed(range(BOOTS)):
        outcome = boot_once(flavour, command, choosy=left > 0, **more)
        if outcome.reason != MISLED:
            break
        print(f"  AGAIN    {flavour}: {MISLED}", file=sys.stderr, flush=True)
    return outcome


def boot_once(flavour, command, *, choosy, cpus=1, threads=1, cpu="max", append="", icount=False, memory="2G",
              nodes=1, writable=False, sink=None, keep=None, env=None):
    image = BUILD / f"obj-{flavour}/arch/x86/boot/bzImage"
    if not image.exists():
        sys.exit(f"rpal: error: there is no {flavour} kernel yet: make FLAVOUR={flavour}")
    (BUILD / "run").mkdir(parents=True, exist_ok=True)
    run = pathlib.Path(tempfile.mkdtemp(prefix="guest-", dir=BUILD / "run"))
    try:
        if env:
            (run / "env").write_text("".join(f"export {k}={v!r}\n" for k, v in env.items()))
        if command is not None:
            (run / "cmd").write_text(command + "\n")
        args = qemu_args(flavour, run, cpus=cpus, threads=threads, cpu=cpu, append=append, icount=icount, memory=memory,
                         nodes=nodes, writable=writable, interactive=command is None)
        if command is None:
            subprocess.run(args, check=False)
            status, reason, output = read_status(run), None, b""
        else:
            if keep:
                # As it comes: the log of a run that hangs is wanted most.
                keep = pathlib.Path(keep)
                keep.parent.mkdir(parents=True, exist_ok=True)
            log = open(keep.with_suffix(".output.log") if keep else os.devnull, "wb", buffering=0)
            with log:
                reason, output = watch(args, run, sink, log, choosy)
            status = read_status(run)
        console = (run / "console.log").read_bytes() if (run / "console.log").exists() else b""
        if status is None and not reason:
            reason = "the kernel panicked" if b"Kernel panic" in console else "the guest stopped before the command was done"
        if keep and command is not None:
            keep.with_suffix(".console.log").write_bytes(console)
        return Outcome(status, reason, output.decode(errors="replace"), console.decode(errors="replace"))
    finally:
        shutil.rmtree(run, ignore_errors=True)


def read_status(run):
    try:
        return int((run / "status").read_text())
    except (FileNotFoundError, ValueError):
        return None


def waited(pid):
    """Seconds that the thread that has waited longest for a processor has done so."""
    longest = 0
    for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            longest = max(longest, int(stat.read_text().split()[1]))
        except (OSError, IndexError):
            # It has just ended, or this kernel does not count.
            pass
    return longest / 1e9


def misled(console):
    return console.exists() and klog.booted_badly(console.read_text(errors="replace"))


def watch(args, run, sink, log, choosy):
    """Runs QEMU to its end, or until nothing has come of it for too long.

    If it is to be choosy, only after a good boot.
    """
    console = run / "console.log"
    output = bytearray()
    seen, alive, starved = 0, time.monotonic(), 0
    reason = None
    with subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as qemu:
        streams = {qemu.stdout: output, qemu.stderr: bytearray()}
        errors = streams[qemu.stderr]
        waiting = set(streams)
        try:
            while waiting:
                booting = choosy and not output
                ready = select.select(list(waiting), [], [], 1 if booting else 5)[0]
                if booting and misled(console):
                    return MISLED, b""
                for stream in ready:
                    data = os.read(stream.fileno(), 65536)
                    if not data:
                        waiting.discard(stream)
                        continue
                    streams[stream] += data
                    alive, starved = time.monotonic(), waited(qemu.pid)
                    if stream is qemu.stdout:
                        log.write(data)
                        if sink:
                            sink(data)
                size = console.stat().st_size if console.exists() else 0
                if size != seen:
                    seen, alive, starved = size, time.monotonic(), waited(qemu.pid)
                quiet = time.monotonic() - alive
                if quiet > QUIET_MINUTES * 60 and quiet - (waited(qemu.pid) - starved) > QUIET_MINUTES * 60:
                    reason = f"the guest hung: nothing from it for {QUIET_MINUTES:g} minutes"
                    break
        finally:
            if qemu.poll() is None and waiting:
                qemu.kill()
        qemu.wait()
        if qemu.returncode and not reason:
            reason = f"QEMU failed: {errors.decode(errors='replace').strip() or qemu.returncode}"
    return reason, bytes(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", default="release")
    parser.add_argument("--cpus", type=int, default=int(os.environ.get("CPUS") or 1))
    parser.add_argument("--threads", type=int, default=1, help="of each core")
    parser.add_argument("--cpu", default="max")
    parser.add_argument("--append", default="")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--nodes", type=int, default=1, help="NUMA nodes, among which CPUs and memory are divided")
    parser.add_argument("--icount", action="store_true")
    parser.add_argument("--keep", help="leave output and kernel log at this path")
    parser.add_argument("command", nargs="?", help="run by bash in the repository; a shell without")
    args = parser.parse_args()

    def sink(data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    outcome = boot(args.flavour, args.command, cpus=args.cpus, threads=args.threads, cpu=args.cpu, append=args.append,
                   icount=args.icount, memory=args.memory, nodes=args.nodes, writable=True, sink=sink,
                   keep=args.keep or BUILD / "results/last-run")
    if outcome.status is None:
        for line in outcome.console.splitlines()[-30:]:
            print(line, file=sys.stderr)
        sys.exit(f"rpal: error: {outcome.reason}; the kernel's log is build/results/last-run.console.log")
    sys.exit(outcome.status)


if __name__ == "__main__":
    main()
