"""How this program was called, for the commands that it tells to give next."""

import os
import pathlib
import shlex
import shutil
import sys

NAME = "keras-encdec"


def program() -> str:
    """Returns how to call this program again, quoted for a shell.

    Its name where the shell finds it, else its path, or Python with its module.

    Example:
        ```python
        from keras_encdec.cli.program import program

        print(f"{program()} --help")
        ```
    """
    called = sys.argv[0]
    if pathlib.Path(called).stem != NAME:
        return f"{shlex.quote(sys.executable)} -m keras_encdec"
    found = shutil.which(NAME)
    if found is not None and os.path.exists(called) and os.path.samefile(found, called):
        return NAME
    return shlex.quote(called)
