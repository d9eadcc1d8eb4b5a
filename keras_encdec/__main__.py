"""Runs the command line by `python -m keras_encdec`."""

from keras_encdec.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
