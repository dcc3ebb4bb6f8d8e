"""The launcher with a fake kiti.train: it continues after failures, runs only what is missing, forwards signals."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from rich.console import Console

from kiti.launching import launch as launching
from kiti.launching.launch import Run, launch
from kiti.launching.launch_display import Live
from kiti.storage.exit_status import ExitStatus
from kiti.storage.run_dirs import read_status

# A run that does what its first argument says, in the directory named by the second.
CHILD = textwrap.dedent(
    """
    import json, os, signal, sys, time
    from pathlib import Path
    how, run_dir = sys.argv[1], Path(sys.argv[2])
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "starts").open("a") as starts:
        starts.write(os.environ["OMP_NUM_THREADS"] + os.environ["MKL_NUM_THREADS"] + "\\n")
    def save(number, frame):
        (run_dir / "saved").touch()
        sys.exit(75)
    if how == "wait":
        signal.signal(signal.SIGTERM, save)
        (run_dir / "status.json").write_text(json.dumps({"state": "training", "step": 3, "total": 9, "loss": 0.25}))
        (run_dir / "ready").touch()
        time.sleep(60)
    elif how == "fail":
        print("working")
        print("ValueError: no such luck\\n", file=sys.stderr)
        sys.exit(1)
    elif how == "silent":
        sys.exit(5)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "busy":  # says so, though nobody holds the lock
        sys.exit(4)
    elif how == "share":
        from kiti.storage.run_dirs import locked_run_dir
        with locked_run_dir(run_dir):
            if not (run_dir / "record.json").exists():
                time.sleep(1)
                with (run_dir / "made").open("a") as made:
                    made.write(f"{os.getpid()}\\n")
                (run_dir / "record.json").write_text("{}")
    elif how == "stop":
        sys.exit(75)
    elif how == "nothing":
        sys.exit(0)
    elif how == "unrecorded":
        sys.exit(3)
    elif how == "diverge":
        (run_dir / "record.json").write_text("{}")
        sys.exit(3)
    else:
        (run_dir / "record.json").write_text("{}")
    """
)


@pytest.fixture
def runs(tmp_path):
    """Makes runs that do what their name says; their directories and logs are in tmp_path."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)

    def make(*hows):
        return [
            Run(
                name=f"{how}-{n}",
                command=(str(script), how, str(tmp_path / f"{how}-{n}")),
                run_dirs=(tmp_path / f"{how}-{n}",),
                log=tmp_path / "logs" / f"{how}-{n}.log",
            )
            for n, how in enumerate(hows)
        ]

    return make


def output(console):
    return console.file.getvalue()


@pytest.fixture(params=["plain", "terminal"])
def console(request):
    return Console(file=io.StringIO(), force_terminal=request.param == "terminal", width=160)


def test_a_failure_does_not_stop_the_rest(runs, console):
    hows = ("fail", "finish", "silent", "killed", "busy", "stop", "finish", "nothing", "unrecorded", "diverge")
    launched = launch(runs(*hows), 2, console)
    outcomes = {outcome.run.name: (outcome.state, outcome.reason) for outcome in launched.outcomes}
    assert outcomes == {
        "fail-0": ("failed", "ValueError: no such luck"),
        "finish-1": ("finished", ""),
        "silent-2": ("failed", "exit status 5, no output"),
        "killed-3": ("failed", "killed by SIGKILL; last line: none"),
        "busy-4": ("running elsewhere", "another process has this run"),
        "stop-5": ("stopped", "resumes from its checkpoint when started again"),
        "finish-6": ("finished", ""),
        "nothing-7": ("failed", "exit status 0, no output"),
        "unrecorded-8": ("failed", "exit status 3, no output"),
        "diverge-9": ("diverged", "recorded, but a metric is not finite"),
    }
    recorded = {"finish-1", "finish-6", "diverge-9"}
    assert {outcome.run.name for outcome in launched.unfinished} == set(outcomes) - recorded
    assert "diverge-9 diverged after" in output(console)
    assert "fail-0 failed after" in output(console)
    assert launched.signal == 0
    assert launched.status == ExitStatus.FAILED


@pytest.mark.parametrize(
    ("hows", "status"),
    [
        ((), ExitStatus.FINISHED),
        (("finish",), ExitStatus.FINISHED),
        (("finish", "diverge"), ExitStatus.DIVERGED),
        (("diverge", "busy"), ExitStatus.LOCKED),
        (("busy", "stop"), ExitStatus.STOPPED),
        (("stop", "fail"), ExitStatus.FAILED),
    ],
)
def test_the_status_of_a_launch_is_the_gravest_of_its_runs(runs, hows, status):
    console = Console(file=io.StringIO())
    assert launch(runs(*hows), 2, console).status == status


HOLDER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from kiti.storage.run_dirs import locked_run_dir
    with locked_run_dir(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
        (Path(sys.argv[1]) / "record.json").write_text("{}")
    """
)


@pytest.fixture
def held():
    """Starts processes that hold the lock of a run; a line to one lets it write the record and end."""
    started = []

    def hold(run):
        command = [sys.executable, "-c", HOLDER, str(run.run_dir)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["finishes", "dies"])
def test_a_run_of_another_process_is_awaited(how, runs, held, console, monkeypatch):
    """If that process dies, this one makes the run."""
    [run] = runs("share")
    other = held(run)
    note = launching.Live.elsewhere if console.is_terminal else launching.Plain.elsewhere

    def elsewhere(display, name):
        note(display, name)
        if how == "dies":
            other.kill()
        else:
            other.stdin.write("\n")
            other.stdin.flush()

    monkeypatch.setattr(launching.Live if console.is_terminal else launching.Plain, "elsewhere", elsewhere)
    launched = launch([run], 1, console)
    assert [outcome.state for outcome in launched.outcomes] == ["finished"]
    assert "share-0 is running elsewhere: waiting for it" in output(console)
    assert (run.run_dir / "made").exists() == (how == "dies")


def test_two_launches_at_once_make_each_run_once(runs, tmp_path):
    made = runs("share", "share", "share")
    program = tmp_path / "both.py"
    program.write_text(
        textwrap.dedent(
            """
            import pickle, sys
            from pathlib import Path
            from rich.console import Console
            from kiti.launching.launch import launch
            if __name__ == "__main__":
                runs = pickle.loads(Path(sys.argv[1]).read_bytes())
                sys.exit(launch(runs, 2, Console(stderr=True)).status)
            """
        )
    )
    (tmp_path / "runs.pickle").write_bytes(pickle.dumps(made))
    command = [sys.executable, str(program), str(tmp_path / "runs.pickle")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert [len((run.run_dir / "made").read_text().splitlines()) for run in made] == [1, 1, 1]


def test_the_log_is_appended_and_only_the_last_attempt_is_read(runs, tmp_path, console):
    [run] = runs("fail")
    launch([run], 1, console)
    (tmp_path / "exit.py").write_text("raise SystemExit(5)")
    launch([Run(run.name, (str(tmp_path / "exit.py"),), run.run_dirs, run.log)], 1, console)
    log = run.log.read_text()
    assert log.index("working") < log.index("ValueError") < log.index("exit.py")
    assert "exit status 5, no output" in output(console)


def test_cores_are_divided_among_jobs(runs, monkeypatch, console):
    monkeypatch.setattr(launching, "cores", lambda: 8)
    first, second = runs("finish", "finish")
    launch([first], 2, console)
    launch([second], 16, console)
    assert (first.run_dir / "starts").read_text() == "44\n"
    assert (second.run_dir / "starts").read_text() == "11\n"


def test_default_number_of_jobs(monkeypatch):
    monkeypatch.setattr(launching, "cores", lambda: 4)
    monkeypatch.setattr(launching, "visible_gpus", list)
    assert [launching.default_jobs(missing) for missing in (0, 1, 3, 9)] == [1, 1, 3, 4]
    monkeypatch.setattr(launching, "visible_gpus", lambda: ["0", "1"])
    assert [launching.default_jobs(missing) for missing in (0, 1, 3, 9)] == [1, 1, 2, 2]


def test_each_of_four_jobs_has_its_own_gpu(runs, tmp_path, monkeypatch, console):
    """Fake GPUs: each child waits until four have said which one they see; a fifth gets one that was given back."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,GPU-a,GPU-b")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    script = tmp_path / "see.py"
    script.write_text(
        "import os, sys, time\nfrom pathlib import Path\n"
        "assert 'RANK' not in os.environ and 'WORLD_SIZE' not in os.environ\n"
        "run_dir = Path(sys.argv[1])\nrun_dir.mkdir()\n"
        "(run_dir / 'gpu').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "while len(list(run_dir.parent.glob('run-*/gpu'))) < 4: time.sleep(0.05)\n"
        "(run_dir / 'record.json').touch()\n"
    )
    dirs = [tmp_path / f"run-{number}" for number in range(5)]
    five = [Run(d.name, (str(script), str(d)), (d,), tmp_path / "logs" / f"{d.name}.log") for d in dirs]
    assert not launch(five, 4, console).unfinished
    seen = [(d / "gpu").read_text() for d in dirs]
    assert sorted(seen[:4]) == ["2", "3", "GPU-a", "GPU-b"]
    assert seen[4] in seen[:4]


def test_the_live_display_shows_each_run(runs, tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    [run] = runs("wait")
    stop = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import time, os\nwhile not os.path.exists({str(run.run_dir / 'ready')!r}): time.sleep(.05)\n"
            f"time.sleep(1)\nos.kill({os.getpid()}, 15)",
        ]
    )
    launched = launch([run], 1, console)
    stop.wait()
    assert launched.signal == signal.SIGTERM
    assert "training 3/9  loss 0.25" in output(console)
    assert "all runs" in output(console)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_is_forwarded_and_runs_save(tmp_path, number):
    """Through a separate process, as from a shell."""
    (tmp_path / "child.py").write_text(CHILD)
    program = textwrap.dedent(
        f"""
        import signal, sys
        from pathlib import Path
        from rich.console import Console
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        from kiti.launching.launch import Run, launch
        from kiti.cli.table_command import _report
        folder = Path({str(tmp_path)!r})
        runs = [
            Run(f"wait-{{n}}", (str(folder / "child.py"), "wait", str(folder / f"wait-{{n}}")),
                (folder / f"wait-{{n}}",), folder / f"{{n}}.log")
            for n in range(3)
        ]
        errors = Console(stderr=True)
        sys.exit(_report(launch(runs, 2, errors), errors))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not all((tmp_path / f"wait-{n}" / "ready").exists() for n in (0, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    process.send_signal(number)  # make forwards what the terminal has already sent: still one request
    _, errors = process.communicate(timeout=60)
    assert process.returncode == ExitStatus.STOPPED
    assert all((tmp_path / f"wait-{n}" / "saved").exists() for n in (0, 1))
    assert not (tmp_path / "wait-2").exists()
    assert errors.count("stopped: wait-") == 2


def test_a_broken_status_file_is_ignored(tmp_path, console):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "status.json").write_text(json.dumps({"state": "training", "step": 1})[:-4])
    code = f"import time; time.sleep(0.5); open({str(run_dir / 'record.json')!r}, 'w').write('x')"
    (tmp_path / "slow.py").write_text(code)
    run = Run("r", (str(tmp_path / "slow.py"),), (run_dir,), tmp_path / "r.log")
    assert [outcome.state for outcome in launch([run], 1, console).outcomes] == ["finished"]


@pytest.mark.parametrize(
    "status",
    [
        {"state": 5, "step": "three", "total": [1], "loss": "low"},
        {"state": "[/bold]", "step": -1, "total": 10**400, "loss": {}},
        {"state": "training", "step": None, "total": True, "loss": None},
        ["training"],
    ],
)
def test_a_foreign_status_does_not_end_the_launch(tmp_path, status):
    (tmp_path / "status.json").write_text(json.dumps(status))
    display = Live(Console(file=io.StringIO(), force_terminal=True), 1)
    with display:
        display.started("r")
        display.update({"r": read_status(tmp_path)})


def test_a_status_is_read(tmp_path):
    status = {"state": "training", "step": 3, "total": 9, "loss": 0.25}
    (tmp_path / "status.json").write_text(json.dumps(status | {"more": 1}))
    assert read_status(tmp_path) == status
    (tmp_path / "status.json").write_text("[" * 100_000)
    assert read_status(tmp_path) == {}
