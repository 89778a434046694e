"""`python -m eventbus`: the same as the `eventbus` command."""

from eventbus.cli import main

if __name__ == "__main__":
    main()
