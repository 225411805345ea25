"""HMDB51 from the Hub, in every form that is kept there: against a server that behaves as the Hub."""

import itertools
import os
import random
import resource
import shutil
import subprocess
import sys
import time

import pytest
from hub_server import TOKEN
from test_hmdb51_files import needs_rar_reader, rar, tarred, zipped

from r21d_lib.data import hmdb51, hub, video
from r21d_lib.errors import DatasetError, HubError, SettingsError
from r21d_lib.files import UnwritableError

CLASSES = ("climb", "climb_stairs", "wave")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """The official clips of three classes, each class with another film: {class/name: bytes}."""
    from conftest import square_frames

    folder = tmp_path_factory.mktemp("clips")
    contents = {}
    for number, name in enumerate(CLASSES):
        video.write(folder / f"{name}.avi", square_frames(8 + number, 32, 40))
        contents[name] = (folder / f"{name}.avi").read_bytes()
    names = sorted(hmdb51.known_names())
    return {name: contents[name.split("/")[0]] for name in names if name.split("/")[0] in CLASSES}


def table(files, path):
    import pyarrow
    import pyarrow.parquet

    videos = [{"bytes": data, "path": name.rpartition("/")[2]} for name, data in files.items()]
    rows = pyarrow.table({"video": videos, "label": [0] * len(videos)})
    pyarrow.parquet.write_table(rows, path)
    return path.read_bytes()


def in_form(name, clips, tmp_path):
    """Return a repository's files as the source of that name keeps them."""
    halves = [dict(list(clips.items())[part::2]) for part in range(2)]
    of_class = {n: {k: v for k, v in clips.items() if k.startswith(f"{n}/")} for n in CLASSES}
    lists = {"README.md": b"# HMDB51\n", "test_train_splits.rar": b"lists"}
    if name == "files":
        return lists | {f"hmdb51_org/{key}": content for key, content in clips.items()}
    if name == "original":
        return lists | {"hmdb51_org.rar": rar({f"{n}.rar": rar(its) for n, its in of_class.items()})}
    if name == "shards":
        return lists | {f"webdataset/00000{n}.tar": tarred(its) for n, its in enumerate(halves)}
    if name == "zip":
        return lists | {"hmdb51.zip": zipped({f"hmdb51/{k}": v for k, v in clips.items()})}
    if name == "zip2":
        return lists | {"hmdb51_org.zip": zipped({f"{n}.zip": zipped(i) for n, i in of_class.items()})}
    assert name == "parquet"
    parts = zip(("train", "test"), halves, strict=True)
    return lists | {f"data/{p}-0-of-1.parquet": table(its, tmp_path / p) for p, its in parts}


@pytest.fixture
def served(hub, clips, tmp_path):
    """Serve the usual source, single clips."""
    hub.repos["datasets/CVML-TueAI/HMDB51"] = in_form("files", clips, tmp_path)
    return hub


def there(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.avi")}


def test_the_table_of_sources_is_whole():
    for entry in hmdb51.sources().values():
        assert entry.repo.count("/") == 1
        assert entry.seen.isdecimal()
        assert all((entry.form, entry.size, entry.licence, entry.files))
        assert set(entry.splits) <= {1, 2, 3}
    assert hmdb51.find(None).name == next(iter(hmdb51.sources()))
    with pytest.raises(SettingsError, match=r"no source 'dropbox': choose files, original"):
        hmdb51.find("dropbox")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs_rar_reader if name == "original" else ())
        for name in hmdb51.sources()
    ],
)
def test_every_source_gives_the_official_clips(hub, clips, tmp_path, r21d, name):
    source = hmdb51.sources()[name]
    clips = {key: clips[key] for key in hmdb51.known_names(source.splits) if key in clips}
    hub.repos[f"datasets/{source.repo}"] = in_form(name, clips, tmp_path)
    to = tmp_path / "hmdb51"
    command = ["fetch", "hmdb51", "--from", name, "--classes", ",".join(CLASSES), "--to", to]
    done = r21d(*command, *(["--decode"] if name == "shards" else []))
    assert done.returncode == 0, done.stderr
    assert f"3 classes with {len(clips)} clips were made" in done.stdout
    assert "wrong" not in done.stdout
    assert there(to) == clips
    for number, its in enumerate(CLASSES):
        first = next(iter(sorted((to / its).iterdir())))
        assert video.decode(first).shape == (8 + number, 32, 40, 3)
    # Again: all of it is there, is compared with its sums, and nothing is fetched.
    before = hub.asked("GET", "/store/")
    done = r21d(*command)
    assert done.returncode == 0
    assert "0 classes with 0 clips were made" in done.stdout
    assert hub.asked("GET", "/store/") == before


def test_single_clips_are_fetched_class_by_class_and_take_no_room_twice(served, clips, tmp_path):
    assert hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False) == ["wave"]
    waves = {key: content for key, content in clips.items() if key.startswith("wave/")}
    assert there(tmp_path / "to") == waves
    assert served.asked("GET", "/store/") == len(waves)
    clip = next((tmp_path / "to" / "wave").iterdir())
    assert clip.stat().st_nlink == 2
    hmdb51.fetch(to=tmp_path / "to", classes=["wave", "climb"], progress=False)
    assert served.asked("GET", "/store/") == len([k for k in clips if "stairs" not in k])
    with pytest.raises(SettingsError, match="no class 'swim'"):
        hmdb51.fetch(to=tmp_path / "to", classes=["swim"])


def test_a_class_that_is_not_whole_is_told(served, clips, tmp_path, r21d):
    served.repos["datasets/CVML-TueAI/HMDB51"].pop(f"hmdb51_org/{sorted(clips)[-1]}")
    done = r21d("fetch", "hmdb51", "--classes", "wave", "--to", tmp_path / "to")
    assert done.returncode == 1
    assert "1 listed clips are absent (wave/" in done.stdout
    assert "climb" not in done.stdout


def test_the_sources_are_listed(r21d):
    said = r21d("fetch").stdout
    for entry in hmdb51.sources().values():
        assert f"--from {entry.name}" in said
        assert entry.repo in said
        assert entry.licence in said
    assert "choose hmdb51" in r21d("fetch", "ucf101").stderr


# What goes wrong on the way -----------------------------------------------------------------------


def fetch_archive(tmp_path):
    return hmdb51.fetch("zip", tmp_path / "to", classes=CLASSES, progress=False)


@pytest.fixture(params=[None, 0], ids=["small", "large"])
def archive(hub, clips, tmp_path, request, monkeypatch):
    """Serve a zip archive, fetched as small files are, and as large ones."""
    if request.param is not None:
        monkeypatch.setattr("r21d_lib.data.hub._LARGE", request.param)
    files = in_form("zip", clips, tmp_path)
    hub.repos["datasets/jili5044/hmdb51"] = files
    hub.size = len(files["hmdb51.zip"])
    return hub


def test_a_broken_connection_is_taken_up_where_it_broke(archive, clips, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(
        constants, "DOWNLOAD_CHUNK_SIZE", 10_000
    )  # of 10 MB: what a break loses at most
    archive.breaks["hmdb51.zip"] = iter([archive.size // 3, archive.size // 4])
    fetch_archive(tmp_path)
    assert there(tmp_path / "to") == clips
    ranges = [r for method, path, r in archive.requests if method == "GET" and "/store/" in path]
    assert len(ranges) == 3
    first, second = (int(r.removeprefix("bytes=").rstrip("-")) for r in ranges[1:])
    assert 0 < first <= archive.size // 3 < second < archive.size, ranges


def test_a_large_file_goes_on_where_its_process_was_killed(hub, clips, tmp_path, r21d):
    noise = random.Random(0).randbytes(48_000_000)  # huggingface_hub writes 10 MB at a time
    files = {"read.me": noise, **{f"hmdb51/{k}": v for k, v in clips.items()}}
    hub.repos["datasets/jili5044/hmdb51"] = {"hmdb51.zip": zipped(files)}
    hub.stalls["hmdb51.zip"] = iter([40_000_000])
    command = ["fetch", "hmdb51", "--from", "zip", "--to", str(tmp_path / "to")]
    command += ["--classes", ",".join(CLASSES)]
    with subprocess.Popen([sys.executable, "-m", "r21d_lib", *command]) as process:
        assert hub.stalled.wait(120)
        for _ in range(600):  # what was sent is not written yet
            if sum(part.stat().st_size for part in tmp_path.rglob("*.part")) >= 20_000_000:
                break
            time.sleep(0.1)
        process.kill()
    (part,) = tmp_path.rglob("*.part")
    assert not list(tmp_path.rglob("*.zip"))
    there_before = part.stat().st_size
    assert 20_000_000 <= there_before < 48_000_000
    done = r21d(*command)
    assert done.returncode == 0, done.stderr
    assert there(tmp_path / "to") == clips
    ranges = [r for method, path, r in hub.requests if method == "GET" and "/store/" in path]
    assert ranges == [None, f"bytes={there_before}-"]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("archive", [0], indirect=True, ids=["large"])
@pytest.mark.parametrize("more", [-1000, 1])
def test_a_part_that_is_not_of_the_file_is_not_taken(archive, clips, tmp_path, more):
    (file,) = hub.list_files("jili5044/hmdb51", "dataset").files[-1:]
    part = file.part(tmp_path / "to.fetched" / "zip")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(archive.size + more))
    fetch_archive(tmp_path)
    assert there(tmp_path / "to") == clips
    ranges = [r for method, path, r in archive.requests if method == "GET" and "/store/" in path]
    assert ranges == ([f"bytes={archive.size + more}-", None] if more < 0 else [None])


def test_a_connection_that_always_breaks_leaves_nothing_half_written(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "_WAITS", ())
    archive.breaks["hmdb51.zip"] = itertools.repeat(0)
    with pytest.raises(HubError, match=r"cannot be reached for jili5044/hmdb51 .*fetched is kept"):
        fetch_archive(tmp_path)
    assert not (tmp_path / "to").exists()
    assert not list(tmp_path.rglob("*.zip"))
    assert not list(tmp_path.rglob("*.incomplete"))


def test_a_wrong_content_is_fetched_once_more_and_then_refused(archive, clips, tmp_path):
    other = bytes(archive.size)
    archive.wrong["hmdb51.zip"] = iter([other])
    fetch_archive(tmp_path)
    assert there(tmp_path / "to") == clips
    shutil.rmtree(tmp_path / "to")
    shutil.rmtree(tmp_path / "to.fetched")
    archive.wrong["hmdb51.zip"] = itertools.repeat(other)
    with pytest.raises(HubError, match=r"hmdb51\.zip of jili5044/hmdb51 came with another content"):
        fetch_archive(tmp_path)
    assert not list(tmp_path.rglob("*.zip"))
    assert not (tmp_path / "to").exists()


def test_what_was_damaged_on_disk_is_fetched_again(served, clips, tmp_path):
    hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False)
    fetched = sorted((tmp_path / "to.fetched" / "files" / "hmdb51_org" / "wave").iterdir())
    damaged = fetched[0].read_bytes()[:-1] + b"x"
    fetched[0].unlink()  # the prepared clip is the same file, and stays as it is
    fetched[0].write_bytes(damaged)
    (tmp_path / "mine.avi").write_text("mine")
    fetched[1].unlink()
    fetched[1].symlink_to(tmp_path / "mine.avi")
    before = served.asked("GET", "/store/")
    hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False)
    for file in fetched[:2]:
        assert file.read_bytes() == clips[f"wave/{file.name}"]
    assert (tmp_path / "mine.avi").read_text() == "mine"
    assert served.asked("GET", "/store/") == before + 2


@pytest.mark.parametrize("part", ["/api/datasets/", "/resolve/", "/store/"])
def test_too_many_requests_are_waited_out(served, clips, tmp_path, part):
    served.statuses[part] = iter([429, 429])
    hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False)
    assert len(there(tmp_path / "to")) == sum(key.startswith("wave/") for key in clips)


def test_an_interrupted_fetch_goes_on_with_what_is_missing(served, clips, tmp_path, monkeypatch):
    wave = [key for key in clips if key.startswith("wave/")]
    bad = f"hmdb51_org/{wave[len(wave) // 2]}"
    served.wrong[bad] = itertools.repeat(b"not it")
    with pytest.raises(HubError):
        hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False)
    kept = len(list((tmp_path / "to.fetched").rglob("*.avi")))
    assert 0 < kept < len(wave)
    assert not (tmp_path / "to").exists()
    served.wrong.clear()
    served.requests.clear()
    hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False)
    assert served.asked("GET", "/store/") == len(wave) - kept
    assert len(there(tmp_path / "to")) == len(wave)


ANSWERS = {
    "always 429": (lambda h: h.statuses.update({"/api/": itertools.repeat(429)}), "no more requests"),
    "always 503": (lambda h: h.statuses.update({"/api/": itertools.repeat(503)}), r"in trouble \(503"),
    "403": (lambda h: h.statuses.update({"/api/": itertools.repeat(403)}), r"does not let you .*\(403"),
    "gone": (lambda h: h.repos.clear(), "no dataset CVML-TueAI/HMDB51 on the Hugging Face Hub, or it"),
    "hidden": (lambda h: h.hidden.add("datasets/CVML-TueAI/HMDB51"), "or it is private.*HF_TOKEN"),
    "gated": (lambda h: h.gated.add("datasets/CVML-TueAI/HMDB51"), "accepted its terms"),
    "other files": (
        lambda h: h.repos.update({"datasets/CVML-TueAI/HMDB51": {"a.txt": b"a"}}),
        r"holds no \*/\{class\}/\*.avi any more: take another source",
    ),
    "evil names": (
        lambda h: h.repos["datasets/CVML-TueAI/HMDB51"].update({"../wave/a.avi": b"a"}),
        "lies outside of it",
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_what_the_hub_answers_is_said_in_one_line(served, tmp_path, r21d, what):
    break_it, message = ANSWERS[what]
    break_it(served)
    with pytest.raises((HubError, DatasetError), match=message):
        hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False)
    done = r21d("fetch", "hmdb51", "--classes", "wave", "--to", tmp_path / "to")
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert done.stderr.rstrip().endswith(line)
    assert not (tmp_path / "to").exists()


def test_a_token_opens_what_is_gated(served, tmp_path, monkeypatch):
    served.gated.add("datasets/CVML-TueAI/HMDB51")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hmdb51.fetch(to=tmp_path / "to", classes=["wave"], progress=False) == ["wave"]


def test_without_a_network(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"cannot be reached for CVML-TueAI/HMDB51 .*HF_ENDPOINT"):
        hmdb51.fetch(to=tmp_path / "to", progress=False)


def test_a_disk_without_room_is_told_before_anything_is_fetched(archive, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=archive.size - 1)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UnwritableError, match=r"has room for .* GB and needs"):
        fetch_archive(tmp_path)
    assert archive.asked("GET", "/store/") == 0


def test_a_disk_that_is_full_on_the_way_leaves_nothing_half_written(archive, tmp_path):
    """The limit of a file's size stands for the end of the disk: both fail the write."""
    code = (
        "import signal, resource; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from r21d_lib.cli.main import main\n"
        "from r21d_lib.data import hub\n"
        f"hub._LARGE = {hub._LARGE}\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({archive.size // 2}, {archive.size // 2}))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "fetch", "hmdb51", "--from", "zip", "--to", str(tmp_path / "to")],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_DISABLE_XET": "1"},
        check=False,
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != archive.size // 2
    assert done.returncode == 2, done.stderr
    assert "cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.zip"))
    assert not list(tmp_path.rglob("*.incomplete"))
