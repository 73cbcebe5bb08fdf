"""`python -m inceptions` is `inceptions`."""

from inceptions.cli import main

if __name__ == "__main__":
    main()
