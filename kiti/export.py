"""`python -m kiti.export` is the command kiti-export."""

from kiti.cli.export_command import main

if __name__ == "__main__":
    main()
