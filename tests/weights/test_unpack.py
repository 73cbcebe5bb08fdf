import gzip
import io
import random
import re
import tarfile
import zipfile

import pytest

import inceptions.weights.unpack as unpacking
from inceptions.errors import UserError, WeightsError
from inceptions.weights.unpack import unpack

BODY = random.Random(0).randbytes(100_000)


def write_tar(path, *members, mode="w:gz"):
    """Write a tar of (TarInfo or name, content) pairs."""
    with tarfile.open(path, mode) as tar:
        for info, content in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def huge(path):
    """A tar that claims a member of 1 TB."""
    info = tarfile.TarInfo("model.ckpt")
    info.size = 1 << 40
    path.write_bytes(gzip.compress(info.tobuf() + bytes(1024)))
    return path


def encrypted(path):
    data = bytearray(write_zip(path, ("model.ckpt", b"secret")).read_bytes())
    data[6] |= 1  # the flag in the file's own header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory's
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_the_wanted_files_of_an_archive_lose_their_folders(tmp_path, write):
    members = (("old/model.ckpt.index", b"index"), ("old/model.ckpt.data-00000-of-00001", b"data"), ("old/graph.pb", b"graph"))
    archive = write(tmp_path / "a", *members)
    paths = unpack(archive, member="*.ckpt*")
    assert [(path.name, path.read_bytes()) for path in paths] == [
        ("model.ckpt.data-00000-of-00001", b"data"),
        ("model.ckpt.index", b"index"),
    ]
    archive.write_bytes(b"")
    assert unpack(archive, member="*.ckpt*") == paths
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.files"}


def test_nothing_in_an_archive_is_put_elsewhere(tmp_path):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    links = [(special("a.ckpt", tarfile.SYMTYPE, "/etc/passwd"), b""), (special("b.ckpt", tarfile.LNKTYPE, "model.ckpt"), b"")]
    links += [(special("c.ckpt", tarfile.CHRTYPE), b""), (special("d.ckpt", tarfile.FIFOTYPE), b"")]
    write_tar(folder / "a.tar.gz", ("../../evil.ckpt", b"x"), ("/tmp/absolute.ckpt", b"y"), *links)
    assert [path.name for path in unpack(folder / "a.tar.gz", member="*.ckpt*")] == ["absolute.ckpt", "evil.ckpt"]
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert {path.name for path in folder.iterdir()} == {"a.tar.gz", "a.tar.gz.files"}


DAMAGED = {
    "nothing that is wanted": lambda path: write_tar(path, ("graph.pb", b"x")),
    "a folder only": lambda path: write_tar(path, (special("model.ckpt", tarfile.DIRTYPE), b"")),
    "a member of 1 TB": huge,
    "half a tar": lambda path: path.write_bytes(write_tar(path, ("model.ckpt", BODY)).read_bytes()[:50_000]),
    "a tar with a byte changed": lambda path: path.write_bytes(write_tar(path, ("model.ckpt", BODY[:1000])).read_bytes()[:-8] + bytes(8)),
    "no archive": lambda path: path.write_bytes(BODY[:1000]),
    "an empty file": lambda path: path.write_bytes(b""),
    "an encrypted zip": encrypted,
    "half a zip": lambda path: path.write_bytes(write_zip(path, ("model.ckpt", b"x" * 1000)).read_bytes()[:-30]),
    "a zip with a byte changed": lambda path: path.write_bytes(
        write_zip(path, ("model.ckpt", BODY[:1000])).read_bytes().replace(BODY[:9], b"?" * 9)
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path, kind):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    archive = folder / "a.tar.gz"
    DAMAGED[kind](archive)
    with pytest.raises(WeightsError, match=re.escape(str(archive))):
        unpack(archive, member="*.ckpt*")
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "er", "a.tar.gz"}


def test_a_full_disk_while_unpacking_is_told(tmp_path, monkeypatch):
    archive = write_tar(tmp_path / "a.tar.gz", ("model.ckpt", b"x"))

    def fill(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpacking.shutil, "copyfileobj", fill)
    with pytest.raises(UserError, match=r"a\.tar\.gz\.files \(No space left on device\); "):
        unpack(archive, member="*.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_who_unpacks_second_takes_what_the_first_unpacked(tmp_path, monkeypatch):
    archive = write_tar(tmp_path / "a.tar.gz", ("model.ckpt", b"x"))
    copy = unpacking.shutil.copyfileobj

    def lose_the_race(content, file):
        copy(content, file)
        monkeypatch.setattr(unpacking.shutil, "copyfileobj", copy)
        unpack(archive, member="*.ckpt")

    monkeypatch.setattr(unpacking.shutil, "copyfileobj", lose_the_race)
    assert [path.read_bytes() for path in unpack(archive, member="*.ckpt")] == [b"x"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "a.tar.gz.files"}
