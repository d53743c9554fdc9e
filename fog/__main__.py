"""`python -m fog`."""

from fog.cli import main

if __name__ == "__main__":
    main()
