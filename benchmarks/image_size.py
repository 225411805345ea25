"""How large are the images of Dockerfile, and does what is in them work, without Docker?

    sudo python benchmarks/image_size.py cuda
    sudo python benchmarks/image_size.py cpu --debian bookworm --borrow WHEELS --torch torch==2.13.0+cpu

It needs debootstrap and the right to chroot. Each stage that a target needs is a folder: Debian as
debootstrap lays it down, then Dockerfile's own ARG, ENV, WORKDIR, COPY, RUN and USER in order. In the
finished root the image's user draws a video, decodes it by both decoders, computes its flow,
predicts it, runs a notebook, and opens JupyterLab by CMD.
This machine's settings of apt, pip and certificates are borrowed while the steps run, and not counted.

Where the index of CPU builds of torch cannot be reached, `--torch` names a build among the wheels of
`--borrow`. The numbers go to benchmarks/results/image_size.json.
"""

import argparse
import contextlib
import fnmatch
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r21d_lib.errors import SettingsError
from r21d_lib.files import whole_file
from r21d_lib.suite import findings
from r21d_lib.suite.repository import REPOSITORY
from r21d_lib.suite.results import provenance, read_results

RESULTS = Path(__file__).parent / "results" / "image_size.json"
NOTEBOOK = "02_spatiotemporal_convolutions"
CHROOT = shutil.which("chroot") or "chroot"  # a root's own PATH need not hold it
PARTS = 12  # the largest, by name
# What the machine needs to reach Debian and Python packages; only the names of variables stand here.
SETTINGS = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
VARIABLES = re.compile(r"(?i)^(pip_|uv_|ssl_cert_file$|https?_proxy$|no_proxy$|requests_ca_bundle$)")
FILM = """
from r21d_lib.data import action_figures, flow, video
video.write("/tmp/golf.avi", action_figures.render("source", "golf", group=3, take=0, seed=1))
fields = list(flow.of_frames(video.decode("/tmp/golf.avi")))
assert len(video.decode("/tmp/golf.avi", decoder="decord")) == len(fields) + 1
"""
ANSWERS = """
import json, sys, time, urllib.request
for _ in range(1200):
    try:
        with urllib.request.urlopen("http://localhost:8888/api") as answer:
            print(json.load(answer)["version"]); sys.exit()
    except OSError:
        time.sleep(0.5)
sys.exit("JupyterLab did not answer")
"""


@dataclass
class Stage:
    """A stage of a Dockerfile: what it starts from and its instructions in order."""

    parent: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Root:
    """A stage that was built: its folder and what later stages take over from it."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    command: list[str] = field(default_factory=list)


def read_dockerfile(text: str, given: dict[str, str]) -> dict[str, Stage]:
    """Return the stages by name; ARGs before the first FROM take `given` or their defaults."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", text))
    stages: dict[str, Stage] = {}
    values: dict[str, str] = {}
    current: Stage | None = None
    for word, rest in (line.split(None, 1) for line in text.splitlines() if line.strip()):
        if word == "FROM":
            parent, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            parent = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], parent)
            current = stages[name] = Stage(parent)
        elif current is None:
            name, _, default = rest.partition("=")
            values[name] = given.get(name, default)
        else:
            current.steps.append((word, rest))
    return stages


def ignored(path: str, patterns: list[str]) -> bool:
    """Tell whether .dockerignore leaves a path out: the last pattern that fits it decides."""
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    left_out = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        tails = [*above, *parts] if wanted.startswith("**/") else above
        if any(fnmatch.fnmatchcase(one, wanted.removeprefix("**/")) for one in tails):
            left_out = not pattern.startswith("!")
    return left_out


def context() -> Iterator[str]:
    """Yield the files that Docker would be sent, relative to the repository."""
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    for folder, folders, files in os.walk(REPOSITORY):
        folders[:] = [one for one in folders if one not in (".git", ".venv", "build")]
        for file in files:
            path = os.path.relpath(os.path.join(folder, file), REPOSITORY)
            if not ignored(path, patterns):
                yield path


def debootstrap(image: str, folder: Path) -> None:
    """Lay down the Debian of an image's name, `debian:SUITE-slim`, with what slim images leave out."""
    suite = image.removeprefix("debian:").removesuffix("-slim")
    subprocess.run(
        ["debootstrap", "--variant=minbase", suite, str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for what in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"):
        shutil.rmtree(folder / what, ignore_errors=True)
    for what in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(folder / what, ignore_errors=True)
        (folder / what).mkdir()


@contextlib.contextmanager
def lent(root: Path, folder: Path | None) -> Iterator[None]:
    """Lend this machine's settings, /proc, /dev and a folder of wheels to a root, for one command."""
    before = {path: (root / path).read_bytes() for path in SETTINGS if (root / path).is_file()}
    mounts = [("proc", "/proc"), ("dev", "/dev"), *([("borrowed", str(folder))] if folder else [])]
    mounted: list[Path] = []
    try:
        for path in SETTINGS:
            if os.path.isfile(f"/{path}"):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(f"/{path}", root / path)
        for name, source in mounts:
            (root / name).mkdir(exist_ok=True)
            subprocess.run(["mount", "--rbind", source, root / name], check=True)
            mounted.append(root / name)
            subprocess.run(["mount", "--make-rslave", root / name], check=True)
        yield
    finally:
        for path in mounted:  # lazily: a process that was left behind keeps it busy, and it must go
            subprocess.run(["umount", "--recursive", "--lazy", path], check=True)
        for path in SETTINGS:
            if path in before:
                (root / path).write_bytes(before[path])
            else:
                (root / path).unlink(missing_ok=True)
        if folder and (root / "borrowed").is_dir():
            (root / "borrowed").rmdir()


@contextlib.contextmanager
def scratch(below: Path | None) -> Iterator[Path]:
    """Yield a folder that is removed at the end, unless something is still mounted in it.

    What is lent to a root is this machine's own: removing the root would empty /dev.
    """
    folder = Path(tempfile.mkdtemp(dir=below)).resolve()
    try:
        yield folder
    finally:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        held = [path for path in (line.split()[1] for line in mounts) if path.startswith(f"{folder}/")]
        if held:
            print(f"{folder} is left: unmount {', '.join(held)}, then remove it", file=sys.stderr)
        else:
            shutil.rmtree(folder)


class Builder:
    """Builds stages below a folder, each once; a Debian that lies in `kept` is laid down no more."""

    def __init__(
        self, folder: Path, given: dict[str, str], borrow: Path | None, kept: Path | None
    ) -> None:
        self.folder, self.given, self.borrow, self.kept = folder, given, borrow, kept or folder
        text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
        self.stages = read_dockerfile(text, given)
        self.built: dict[str, Root] = {}

    def build(self, name: str) -> Root:
        """Return a stage's root, built with what it starts from; `debian:...` is debootstrapped."""
        if name in self.built:
            return self.built[name]
        if name not in self.stages:
            path = self.kept / re.sub(r"\W", "-", name)
            if not path.is_dir():
                debootstrap(name, self.folder / "debian")
                os.rename(self.folder / "debian", path)
            self.built[name] = Root(path)
            return self.built[name]
        path = self.folder / name
        stage = self.stages[name]
        above = self.build(stage.parent)
        root = Root(path, dict(above.env), above.workdir, above.user, above.command)
        subprocess.run(["cp", "-a", above.path, path], check=True)
        arguments: dict[str, str] = {}
        for word, rest in stage.steps:
            print(f"[{name}] {word} {rest}", flush=True)
            if word == "ARG":
                key, _, default = rest.partition("=")
                arguments[key] = self.given.get(key, "".join(shlex.split(default)))
            elif word == "ENV":
                root.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            elif word == "WORKDIR":
                root.workdir = rest
                (path / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "USER":
                root.user = rest
            elif word == "COPY":
                self.copy(root, shlex.split(rest))
            elif word == "RUN":
                self.run(root, ["sh", "-c", rest], env=arguments)
            elif word == "CMD":
                root.command = json.loads(rest)
            elif word != "EXPOSE":
                raise SettingsError(f"Dockerfile: {word} is not understood here")
        self.built[name] = root
        return root

    def copy(self, root: Root, words: list[str]) -> None:
        """Do a COPY: named files or all of the context, or a folder of another stage."""
        options = dict(word[2:].split("=") for word in words if word.startswith("--"))
        *sources, to = (word for word in words if not word.startswith("--"))
        target = root.path / os.path.join(root.workdir, to).lstrip("/")
        if "from" in options:
            (source,) = sources
            target.parent.mkdir(parents=True, exist_ok=True)
            there = self.build(options["from"]).path / source.lstrip("/")
            subprocess.run(["cp", "-al", there, target], check=True)  # nothing writes to it any more
            return
        for path in context() if sources == ["."] else sources:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, target / path)
        if "chown" in options:
            owner = f"{options['chown']}:{options['chown']}"
            below = ["sh", "-c", f"chown -R {owner} {os.path.join(root.workdir, to)}/*"]
            subprocess.run([CHROOT, root.path, *below], check=True)

    def run(
        self, root: Root, command: list[str], env: dict[str, str] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a root, as its user in its folder with its variables."""
        with lent(root.path, self.borrow):
            return subprocess.run(
                self.command(root, command), env=self.environment(root, env), check=True, **more
            )

    def command(self, root: Root, command: list[str]) -> list[str]:
        """Return the command line that runs a command in a root."""
        into = f'cd {root.workdir} && exec "$@"'
        user = ["--userspec", f"{root.user}:{root.user}"] if root.user != "root" else []
        return [CHROOT, *user, str(root.path), "sh", "-c", into, "sh", *command]

    def environment(self, root: Root, env: dict[str, str] | None = None) -> dict[str, str]:
        """Return the variables of a command in a root."""
        home = "/root" if root.user == "root" else f"/home/{root.user}"
        settings = {name: value for name, value in os.environ.items() if VARIABLES.match(name)}
        path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return {**settings, **path, "HOME": home, **root.env, **(env or {})}


def megabytes(path: Path) -> float:
    """Return how much the files below a path hold [MB of a million bytes]."""
    done = subprocess.run(["du", "-sb", "-x", path], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0]) / 1e6


def cpu_seconds() -> float:
    """Return what the commands that have ended took of the processor [s], whatever else ran then."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def prove(builder: Builder, root: Root, notebook: bool) -> dict[str, Any]:
    """Predict, run a notebook if asked to, and open JupyterLab as the image's user; return seconds.

    The film that is predicted is first decoded by both decoders, and its optical flow computed: so the
    libraries that Dockerfile strips are used.
    """
    found: dict[str, Any] = {}
    who = builder.run(root, ["id", "-un"], capture_output=True, text=True).stdout.strip()
    found["user"] = who
    builder.run(root, ["python", "-c", FILM])
    commands = {"predict": ["r21d", "predict", "/tmp/golf.avi"]}
    if notebook:
        commands["notebook"] = ["r21d", "reproduce", "--native", NOTEBOOK]
    for name, command in commands.items():
        started, before = time.monotonic(), cpu_seconds()
        done = builder.run(root, command, capture_output=True, text=True)
        found[name] = {
            "command": " ".join(command),
            "seconds": round(time.monotonic() - started),
            "cpu_seconds": round(cpu_seconds() - before, 1),
        }
        print(done.stdout.strip()[-600:])
        if name == "predict" and "golf" not in done.stdout:
            raise SettingsError("r21d predict did not recognise the drawn video of golf")
    with lent(root.path, builder.borrow):
        command, own = builder.command(root, root.command), builder.environment(root)
        lab = subprocess.Popen(command, env=own, stderr=subprocess.DEVNULL)
        try:
            answer = subprocess.run(
                [sys.executable, "-c", ANSWERS], check=True, capture_output=True, text=True
            )
        finally:
            lab.terminate()
            lab.wait()
    found["lab"] = {"command": " ".join(root.command), "jupyter_server": answer.stdout.strip()}
    return found


def parts(root: Path) -> dict[str, float]:
    """Return the largest packages in the root's environment [MB]."""
    (site,) = (root / "opt/r21d/lib").glob("python3*/site-packages")
    sizes = {path.name: megabytes(path) for path in site.iterdir() if path.is_dir()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:PARTS]
    return {name: round(sizes[name]) for name in largest}


def wheels_for(torch: str, folder: Path, to: Path) -> Path:
    """Copy wheels, and add the pins of constraints.txt with this torch in place of theirs."""
    shutil.copytree(folder, to)
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    (to / "constraints.txt").write_text(re.sub(r"(?m)^torch==.*$", torch, pins), encoding="utf-8")
    return to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", choices=("cpu", "cuda"))
    parser.add_argument("--debian", default="trixie", help="Debian's name of the release")
    parser.add_argument("--borrow", type=Path, help="a folder of wheels to take packages from, too")
    parser.add_argument("--torch", help="the build of torch to take from there")
    parser.add_argument("--quick", action="store_true", help="run no notebook")
    parser.add_argument("--below", type=Path, help="where to build and keep Debian; else for this run")
    given = parser.parse_args()
    arguments = {"DEBIAN": f"{given.debian}-slim"}
    with scratch(given.below) as folder:
        if given.torch:
            given.borrow = wheels_for(given.torch, given.borrow, folder / "wheels")
            arguments["TORCH"] = "--find-links /borrowed -c /borrowed/constraints.txt"
        builder = Builder(folder, arguments, given.borrow, given.below)
        root = builder.build(given.target)
        debian = builder.built[f"debian:{given.debian}-slim"].path
        found = {
            "debian": given.debian,
            "debian_mb": round(megabytes(debian)),
            "adds_mb": round(megabytes(root.path) - megabytes(debian)),
            "packages_mb": round(megabytes(root.path / "opt/r21d")),
            "suite_mb": round(megabytes(root.path / "suite"), 1),
            "largest_mb": parts(root.path),
            "torch": given.torch or "of constraints.txt, with CUDA",
            "proved": prove(builder, root, not given.quick),
            "provenance": provenance(),
        }
    kept = read_results(RESULTS) if RESULTS.is_file() else {}
    with whole_file(RESULTS) as partial:
        partial.write_text(json.dumps({**kept, given.target: found}, indent=2) + "\n")
    findings.fill()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
