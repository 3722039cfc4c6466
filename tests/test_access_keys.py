"""Keys as they are written: read, refused with a reason, never shown."""

from __future__ import annotations

import gc
import pickle
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from ops.cli import app as command_line
from ops.demo_api import admin_key
from ops.stack.commands import child_environment
from schemas.errors import InvalidSettings
from schemas.settings import Settings
from serving.access.keys import KeyRing, keys_of
from serving.access.roles import Role
from tests.access_world import ADMIN, KEYS, READER, WRITER, app_of, settings_with, with_keys

LONG = "k" * 16


def read(text: str) -> dict[str, frozenset[Role]]:
    return keys_of(Settings(api_keys=SecretStr(text))) or {}


def test_keys_are_read_with_their_roles_however_they_are_separated() -> None:
    wanted = {f"{LONG}1": {Role.ADMIN}, f"{LONG}2==": {Role.EVENTS_WRITE, Role.RECOMMEND_READ}}
    for between in (";", " ; ", "\n", "  # of the shop=admin; 3\n", ";;\n\t"):
        assert read(f"{LONG}1=admin{between}{LONG}2===events:write,recommend:read") == wanted


def test_without_keys_there_are_none_and_an_empty_variable_is_none() -> None:
    assert keys_of(Settings()) is None
    assert keys_of(Settings.from_environment({"FRESHET_API_KEYS": ""})) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (" ; ", "no key in it"),
        ("# only a comment", "no key in it"),
        ("S3cret-S3cret-S3cret", "entry 1: write KEY=ROLE"),
        ("admin=S3cret-S3cret-S3cret", "entry 1: write KEY=ROLE"),
        (f"{LONG}=admin;S3cret-S3cret-S3cret=root", "entry 2: write KEY=ROLE,ROLE with roles out of events:write, "),
        ("S3cret-S3cret-S3cret=", "entry 1: write KEY=ROLE"),
        ("S3cret-S3cret-S3cret=admin,", "entry 1: write KEY=ROLE"),
        ("S3cret-S3cret-S3cret =admin", "entry 1: write KEY=ROLE"),
        ("S3cret=admin", "entry 1: a key has 16 to 256 characters"),
        (f"S3cret{'x' * 300}=admin", "entry 1: a key has 16 to 256 characters"),
        ("S3cret-S3cret-S3cr\u00e9t=admin", "entry 1: a key has only letters"),
        ("S3cret:S3cret:S3cret=admin", "entry 1: a key has only letters"),
        ("S3cret=S3cret-S3cret=admin", "entry 1: a key has only letters"),
        ("S3cret-S3cret-S3cret=admin;S3cret-S3cret-S3cret=events:write", "entry 2: the same key as an entry before"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused_with_its_number_and_not_shown(text: str, told: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^FRESHET_API_KEYS: ") as caught:
        read(text)
    assert told in str(caught.value)
    assert "S3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_file_adds_keys_and_its_faults_name_it(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# the shop\n{WRITER}=events:write\n\n{READER}=recommend:read # its pages\n")
    settings = Settings.from_environment({"FRESHET_API_KEYS": f"{ADMIN}=admin", "FRESHET_API_KEYS_FILE": str(path)})
    assert (keys_of(settings) or {}).keys() == {WRITER, READER, ADMIN}
    for content, told in ((b"S3cret", "entry 1: write KEY=ROLE"), (b"S3cret\xff", "not UTF-8"), (b"", "no key in it")):
        path.write_bytes(content)
        with pytest.raises(InvalidSettings) as caught:
            keys_of(Settings(api_keys_file=path))
        assert f"FRESHET_API_KEYS_FILE={path}: " in str(caught.value)
        assert told in str(caught.value)
        assert "S3cret" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(InvalidSettings, match="cannot be read: No such file"):
        keys_of(Settings(api_keys_file=tmp_path / "none"))


def test_settings_show_no_key() -> None:
    settings = with_keys()
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(child_environment(settings))):
        assert not any(key in shown for key in (WRITER, READER, ADMIN)), shown
    assert settings.secrets() == {"FRESHET_API_KEYS": KEYS}
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_environment({"FRESHET_PARTITIONS": "no", "FRESHET_API_KEYS": KEYS})
    assert "FRESHET_PARTITIONS='no'" in str(caught.value)
    assert WRITER not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_environment({}, api_keys=5)
    assert str(caught.value).startswith("FRESHET_API_KEYS=***: ")


def test_the_app_keeps_no_key_beside_its_settings() -> None:
    ring = KeyRing({READER: frozenset({Role.RECOMMEND_READ})})
    assert READER.encode() not in pickle.dumps(ring)
    assert READER not in repr(ring)
    assert ring.caller(READER.encode()) is not None
    assert ring.caller(READER.encode() + b" ") is None
    key = "only-here-" + "x" * 12
    app = app_of(settings_with(api_keys=SecretStr(f"{key}=admin")))
    assert app.state.access is not None
    assert [thing for thing in gc.get_objects() if type(thing) is dict and key in thing] == []


def test_the_demo_takes_a_key_that_may_do_everything() -> None:
    assert admin_key(Settings()) is None
    assert admin_key(with_keys()) == ADMIN
    with pytest.raises(InvalidSettings, match="the demo needs a key with the role admin"):
        admin_key(Settings(api_keys=SecretStr(f"{READER}=recommend:read")))


def test_the_api_does_not_start_with_wrong_keys() -> None:
    environment = {
        "FRESHET_KAFKA": "127.0.0.1:1",
        "FRESHET_REDIS": "redis://127.0.0.1:1",
        "FRESHET_API_KEYS": "S3cret-S3cret-S3cret",
    }
    done = CliRunner().invoke(command_line, ["api"], env=environment)
    assert done.exit_code == 2
    assert "freshet: FRESHET_API_KEYS: entry 1: write KEY=ROLE" in done.output
    assert "S3cret" not in done.output
