"""``python -m rlhf_lab``: the command line, as ``rlhf-lab``."""

from rlhf_lab.cli import main

if __name__ == "__main__":  # a process pool imports this module without running it
    main()
