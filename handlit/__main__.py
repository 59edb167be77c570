"""``python -m handlit``: the same as the command ``handlit``."""

from handlit.cli import main

if __name__ == "__main__":
    main()
