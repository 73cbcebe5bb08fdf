import socket
from dataclasses import fields
from inspect import signature

import pytest

from inceptions.cli.use import serve
from inceptions.serving.settings import Settings
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny")


def test_missing_library_is_named_with_the_extra_that_brings_it(inceptions, monkeypatch, folder):
    monkeypatch.setattr("inceptions.extras.find_spec", lambda name: None)
    refused = inceptions("serve", folder)
    assert refused.code == 2
    assert "serving needs fastapi and uvicorn and python_multipart and prometheus_client, not installed here" in refused.err
    assert "pip install 'inceptions[serve]'" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}", "{folder}"], "two models are called 'tiny'"),
        (["a b={folder}"], "'a b' can't be the name of a model"),
        (["nothing"], "nothing is not a model folder"),
        (["{folder}", "--queue-images", "3"], "images_per_request is 64, more than queue_images, 3"),
        (["{folder}", "--token-file", "nothing"], "the token can't be read from nothing (No such file or directory)"),
        (["{folder}", "--host", "no such host"], "can't listen at no such host"),
    ],
)
def test_what_cannot_be_served_is_told(inceptions, folder, arguments, said):
    pytest.importorskip("fastapi")
    refused = inceptions("serve", *(argument.format(folder=folder) for argument in arguments))
    assert (refused.code, said in refused.err) == (2, True), refused.err


def test_options_begin_with_what_the_settings_have():
    """They are written twice, so that asking for help imports nothing of the server."""
    options = {name: option.default for name, option in signature(serve).parameters.items()}
    assert {field.name: field.default for field in fields(Settings)} == {field.name: options[field.name] for field in fields(Settings)}


def test_address_that_is_taken_is_told(inceptions, folder):
    pytest.importorskip("fastapi")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = inceptions("serve", folder, "--port", taken.getsockname()[1])
    assert refused.code == 2
    assert "(Address already in use); give another --port or --host" in refused.err


def test_token_that_is_easily_guessed_is_refused(inceptions, folder, monkeypatch):
    pytest.importorskip("fastapi")
    monkeypatch.setenv("INCEPTIONS_TOKEN", "secret")
    refused = inceptions("serve", folder)
    assert "the token has 6 characters; give at least 16" in refused.err


def test_others_are_let_in_without_a_token_only_with_a_warning(inceptions, folder, monkeypatch):
    pytest.importorskip("fastapi")
    served = []
    monkeypatch.setattr("inceptions.serving.server.serve", lambda *given, **how: served.append(how["token"]))
    monkeypatch.setenv("INCEPTIONS_TOKEN", "")
    assert "whoever reaches 0.0.0.0 can ask" in inceptions("serve", folder, "--host", "0.0.0.0", "--port", "0").err
    assert "can ask" not in inceptions("serve", folder, "--port", "0").err
    monkeypatch.setenv("INCEPTIONS_TOKEN", "0123456789abcdef")
    assert "can ask" not in inceptions("serve", folder, "--host", "0.0.0.0", "--port", "0").err
    assert served == [None, None, "0123456789abcdef"]
