"""`python -m kiti.train` is the command kiti-train."""

from kiti.storage import stop_signals
from kiti.storage.exit_status import noted


def main() -> None:
    """Before anything else, which takes a second to import, it can be stopped."""
    stop_signals.leave_at_once("stopped before training; the same command starts again")
    try:
        with noted():
            from kiti.cli.train_command import main as command

            command()
    finally:
        stop_signals.ignore()  # SLURM may signal twice, a process and with it its job


if __name__ == "__main__":
    main()
