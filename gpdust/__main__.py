"""`python -m gpdust` is `gpdust`."""

from gpdust.cli import main

if __name__ == "__main__":
    main(prog_name="gpdust")
