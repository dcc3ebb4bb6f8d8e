"""`python -m kiti.calibrate` is the command kiti-calibrate."""

from kiti.cli.calibrate_command import main

if __name__ == "__main__":
    main()
