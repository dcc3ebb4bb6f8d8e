"""`python -m kiti.table` is the command kiti-table."""

from kiti.cli.table_command import main

if __name__ == "__main__":
    main()
