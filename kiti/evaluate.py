"""`python -m kiti.evaluate` is the command kiti-eval."""

from kiti.cli.evaluate_command import main

if __name__ == "__main__":
    main()
