"""`python -m kiti.train` is the command kiti-train."""

from kiti.cli.train_command import main

if __name__ == "__main__":
    main()
