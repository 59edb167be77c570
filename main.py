"""Command line of handlit: ``python main.py --help``; the same as the installed command ``handlit``."""

from handlit.cli import main

if __name__ == "__main__":
    main()
