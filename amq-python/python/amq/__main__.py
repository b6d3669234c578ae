"""The command amqc: `amqc` or `python -m amq`."""

import signal
import sys

from ._amq import command


def main() -> int:
    # The command ends, and tidies up, as a program of its own does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return command(["amqc", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
