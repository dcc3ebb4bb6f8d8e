"""Debian's SLURM as a cluster of two nodes on this host, below one directory, while a block runs."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
READY_SECONDS = 60

CONFIGURATION = """
ClusterName=kiti
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmUser=root
AuthInfo=socket={place}/munge/socket,cred_expire=3
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
KillWait=20
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=4 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


class NoCluster(Exception):
    """Why SLURM does not run here, in one line."""


@dataclass(frozen=True)
class Job:
    """What `scontrol show job` says of a job or of a member of an array."""

    state: str
    exit_code: str
    restarts: int


@dataclass(frozen=True)
class Cluster:
    place: Path

    @property
    def environment(self) -> dict[str, str]:
        """In which SLURM's commands find the cluster. None of a surrounding job's variables are left."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return kept | {"SLURM_CONF": f"{self.place}/slurm.conf"}

    def call(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: str) -> Job:
        shown = self.call("scontrol", "show", "job", number)
        found = dict(re.findall(r"(JobState|ExitCode|Restarts)=(\S+)", shown))
        return Job(found["JobState"], found["ExitCode"], int(found["Restarts"]))

    def jobs(self) -> dict[str, Job]:
        """All that the controller remembers, by JOB or ARRAY_TASK."""
        shown = self.call("scontrol", "show", "job", "--oneliner")
        found = {}
        for line in filter(None, shown.splitlines()):
            task = re.search(r"ArrayJobId=(\d+) ArrayTaskId=(\d+) ", line)
            number = re.match(r"JobId=(\d+)", line)
            if number and (task or "ArrayTaskId" not in line):
                found["_".join(task.groups()) if task else number[1]] = self.job(number[1])
        return found

    def wait(self, number: str, reached: Callable[[Job], bool], seconds: float = 240) -> Job:
        """The job once it is as wanted; AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while not reached(job := self.job(number)):
            assert time.monotonic() < end, f"job {number} is still {job}"
            time.sleep(0.5)
        return job


@contextmanager
def started(place: Path) -> Iterator[Cluster]:
    """A cluster below `place`, which other users must be able to enter. NoCluster if it is not ready in 60 s."""
    if missing := [name for name in DAEMONS if shutil.which(name) is None]:
        raise NoCluster(f"no {', '.join(missing)} here; apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        raise NoCluster("slurmd starts jobs as their users, so this needs root")
    _configure(place)
    cluster = Cluster(place)
    with ExitStack() as stack:
        munge = place / "munge"
        names = ("socket", "pid", "log", "seed")
        options = [f"--{name}{'' if name == 'socket' else '-file'}={munge}/{name}" for name in names]
        stack.enter_context(_daemon(cluster, "munged", "-F", f"--key-file={munge}/key", *options))
        _until(lambda: (munge / "socket").exists(), "munged", cluster)
        stack.enter_context(_daemon(cluster, "slurmctld", "-D", "-i"))
        for node in ("n1", "n2"):
            stack.enter_context(_daemon(cluster, "slurmd", "-D", "-N", node))
        _until(lambda: _idle(cluster), "slurmctld", cluster)
        stack.callback(_cancel_all, cluster)
        yield cluster


def _configure(place: Path) -> None:
    munge = place / "munge"
    munge.mkdir(mode=0o711)
    munge.chmod(0o711)
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o400)
    (place / "state").mkdir()
    ports = _free_ports()
    (place / "slurm.conf").write_text(CONFIGURATION.format(host=socket.gethostname(), ports=ports, place=place))
    version = subprocess.run(["slurmd", "-V"], capture_output=True, text=True).stdout.split()[-1]
    # Before 23.11 there is no plug-in that does nothing; that of version 1 does nothing unless asked.
    plugin = "disabled" if tuple(map(int, version.split(".")[:2])) >= (23, 11) else "cgroup/v1"
    (place / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")


def _free_ports() -> list[int]:
    """Three ports in a row, as slurm.conf writes them."""
    for first in range(17_800, 19_000, 3):
        ports = [first, first + 1, first + 2]
        if all(_free(port) for port in ports):
            return ports
    raise NoCluster("no three free ports in a row from 17800 to 19000")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def _daemon(cluster: Cluster, *command: str) -> Iterator[None]:
    log = cluster.place / f"{'-'.join([command[0], *command[3:4]]) if command[0] == 'slurmd' else command[0]}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            # It ends with this process, even if that is killed.
            ["setpriv", "--pdeathsig", "TERM", *command],
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _idle(cluster: Cluster) -> bool:
    shown = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%T"], env=cluster.environment, capture_output=True, text=True
    )
    return shown.stdout.split() == ["idle", "idle"]


def _until(ready: Callable[[], bool], name: str, cluster: Cluster) -> None:
    end = time.monotonic() + READY_SECONDS
    while not ready():
        if time.monotonic() > end:
            lines = (cluster.place / f"{name}.log").read_text(errors="replace").splitlines()
            raise NoCluster(f"SLURM is not ready after {READY_SECONDS} s; last of {name}: {lines[-1] if lines else ''}")
        time.sleep(0.2)


def _cancel_all(cluster: Cluster) -> None:
    """Kill what jobs run: without a slurmd nobody would."""
    if running := cluster.call("squeue", "--noheader", "--format=%A").split():
        subprocess.run(["scancel", "--signal=KILL", "--full", *running], env=cluster.environment)
        subprocess.run(["scancel", *running], env=cluster.environment)
        _until(lambda: not cluster.call("squeue", "--noheader").strip(), "slurmctld", cluster)
