"""The command as pip, pipx and uv lay it out: the script, an interpreter beside it, the package below `lib`."""

import os
import shutil
import sys

from thrum import door

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(door.__file__)))
PYTHON = "python{}.{}".format(*sys.version_info[:2])


def lay_out(folder, *, editable=False, interpreter=True):
    """An environment at `folder`; the path of its `git-thrum`."""
    packages = folder / "lib" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    if editable:
        (packages / "_editable_impl_git_thrum.pth").write_text(ROOT)
    else:
        (packages / "thrum").symlink_to(os.path.join(ROOT, "thrum"))
    programs = folder / "bin"
    programs.mkdir()
    if interpreter:
        write_interpreter(programs / PYTHON)
    return shutil.copy(os.path.join(ROOT, "git-thrum"), programs)


def write_interpreter(path):
    """A Python at `path` that has the libraries of the one that runs us."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
