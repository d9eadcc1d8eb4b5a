import os
import pathlib
import stat

import keras
import pytest

from keras_encdec.backend import program_cache
from keras_encdec.backend.program_cache import keep_programs

only_jax = pytest.mark.skipif(keras.config.backend() != "jax", reason="of JAX alone")


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """The user's caches, and a JAX that was given no folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(program_cache.SWITCH, raising=False)
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
    )
    if keras.config.backend() != "jax":
        yield tmp_path
        return
    import jax

    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], None)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.once
@pytest.mark.skipif(keras.config.backend() == "jax", reason="of the others")
def test_other_backends_keep_none(caches):
    assert keep_programs() is None and not os.listdir(caches)


@only_jax
def test_a_folder_that_nobody_else_can_write(caches):
    import jax

    folder = keep_programs()
    assert folder.parents[1] == caches and jax.__version__ in folder.name
    for each in (folder, folder.parent):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700
    assert jax.config.jax_compilation_cache_dir == str(folder)
    # Given one, JAX keeps it.
    assert keep_programs() is None


@only_jax
def test_a_folder_that_others_can_write_is_not_used(caches):
    import jax

    folder = keep_programs()
    jax.config.update("jax_compilation_cache_dir", None)
    folder.chmod(0o770)
    with pytest.warns(UserWarning, match="nobody else can write; others can in"):
        assert keep_programs() is None
    assert jax.config.jax_compilation_cache_dir is None


@only_jax
def test_who_has_no_home_keeps_none(caches, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(pathlib.Path, "home", home)
    assert keep_programs() is None


@only_jax
def test_it_has_a_switch_and_a_limit(caches, monkeypatch):
    import jax

    monkeypatch.setenv(program_cache.SWITCH, "0")
    assert keep_programs() is None and not os.listdir(caches)
    monkeypatch.setenv(program_cache.SWITCH, "much")
    with pytest.raises(ValueError, match="number of megabytes.*received 'much'"):
        keep_programs()
    monkeypatch.setenv(program_cache.SWITCH, "1")
    folder = keep_programs()
    for place, name in enumerate("abc"):
        (folder / name).write_bytes(bytes(2**19))
        os.utime(folder / name, (place, place))
    jax.config.update("jax_compilation_cache_dir", None)
    assert keep_programs() == folder and sorted(os.listdir(folder)) == ["b", "c"]
