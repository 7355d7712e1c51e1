"""The package as a file, and `make install`: lintian, the unit, the places, what is kept and what is removed."""

import pathlib
import re
import shutil
import subprocess

import pytest

import bare

VARIANTS = [("/usr", "/etc"), ("/usr/local", "/etc"), ("/opt/post", "/opt/etc")]


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    """The unpacked package."""
    reason = bare.why_not("dpkg-deb", "dh", "lintian")
    if reason:
        pytest.skip(reason)
    path = tmp_path_factory.mktemp("deb")
    bare.run("dpkg-deb", "-R", bare.package(), path)
    return path


def lintian(*files):
    return bare.run("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", *files).stdout


def test_lintian_finds_nothing_in_the_package(deb):
    changes = next((bare.ROOT / "dist").glob(f"postoffice_{bare.version()}_*.changes"))
    assert not lintian(changes)
    assert not list(deb.glob("usr/share/lintian/overrides/*")), "nothing is overridden"


def test_lintian_finds_nothing_in_the_source(deb, tmp_path):
    tree = tmp_path / "postoffice"
    tree.mkdir()
    names = subprocess.run(["git", "-c", f"safe.directory={bare.ROOT}", "ls-files"], cwd=bare.ROOT, capture_output=True,
                           text=True, check=False).stdout
    if not names:
        pytest.skip("git lists no sources here")
    subprocess.run(["tar", "-cf", tmp_path / "all.tar", "-T", "-"], cwd=bare.ROOT, input=names, text=True, check=True)
    bare.run("tar", "-xf", tmp_path / "all.tar", "-C", tree)
    bare.run("dpkg-source", "-b", "postoffice", cwd=tmp_path)
    assert not lintian(*tmp_path.glob("*.dsc"))


def test_the_version_of_the_package_is_that_of_the_program(deb):
    binary = bare.run(deb / "usr/sbin/websocket-server", "version").stdout
    assert re.search(rf"\b{re.escape(bare.version())}\b", binary)


def test_making_the_package_leaves_nothing_in_the_tree(deb):
    for name in ("files", "postoffice", "postoffice.substvars", "debhelper-build-stamp", ".debhelper"):
        assert not (bare.ROOT / "debian" / name).exists()
    assert not (bare.ROOT / "build" / "deb").exists()


def test_what_an_operator_changes_is_a_conffile_and_redis_is_recommended(deb):
    assert (deb / "DEBIAN/conffiles").read_text().split() == [
        "/etc/default/postoffice", "/etc/init.d/websocket-server", "/etc/logrotate.d/postoffice", "/etc/postoffice/config.json"]
    recommended = re.search(r"^Recommends: (.*)$", (deb / "DEBIAN/control").read_text(), re.MULTILINE).group(1)
    assert "redis-server" in recommended


def test_the_maintainer_scripts_are_clean(deb):
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck")
    bare.run("shellcheck", *(bare.ROOT / "debian").glob("*.post*"))


# -- make install


def install(folder, prefix, sysconfdir, target="install"):
    """-o all: the program was built before, and stays as it is."""
    bare.run("make", "-o", "all", target, f"DESTDIR={folder}", f"PREFIX={prefix}", f"SYSCONFDIR={sysconfdir}", cwd=bare.ROOT)


def texts(folder):
    """The text files of an install, but for the documents."""
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*")
            if path.is_file() and not {"sbin", "doc", "man"} & set(path.parts)}


@pytest.mark.parametrize("prefix, sysconfdir", VARIANTS)
def test_scripts_and_unit_name_the_places_of_the_install(tmp_path, prefix, sysconfdir):
    install(tmp_path, prefix, sysconfdir)
    found = texts(tmp_path)
    init = found[pathlib.Path(f"{sysconfdir[1:]}/init.d/websocket-server")]
    assert f":-{prefix}/sbin/websocket-server}}" in init and f":-{sysconfdir}/postoffice/config.json}}" in init
    unit = found[pathlib.Path(f"{prefix[1:]}/lib/systemd/system/postoffice.service")]
    assert f"exec {prefix}/sbin/websocket-server serve" in unit
    assert f"CONFIG={sysconfdir}/postoffice/config.json\n" in unit
    for path, text in found.items():
        for place, words in ((prefix, r"/usr/local/"), (sysconfdir, r"(?<!/opt)/etc/(postoffice|default/|init\.d/)")):
            wrong = re.search(words, text)
            assert not wrong or wrong.group(0).startswith(place), f"{path}: {wrong.group(0)}"


@pytest.mark.parametrize("prefix, sysconfdir", VARIANTS)
def test_the_unit_is_sound_and_its_exposure_is_low(tmp_path, prefix, sysconfdir):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    install(tmp_path, prefix, sysconfdir)
    unit = next(tmp_path.rglob("postoffice.service"))
    sound = tmp_path / "postoffice.service"  # the program is not in its place yet
    sound.write_text(unit.read_text().replace(f"={prefix}/sbin/", f"={tmp_path}{prefix}/sbin/"))
    assert not bare.run("systemd-analyze", "verify", sound).stdout
    said = bare.run("systemd-analyze", "security", "--offline=yes", sound).stdout
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", said).group(1)) < 2.0


def test_a_second_install_keeps_what_the_operator_changed_and_removing_keeps_it_too(tmp_path):
    install(tmp_path, "/usr", "/etc")
    changed = [tmp_path / name for name in ("etc/postoffice/config.json", "etc/default/postoffice", "etc/logrotate.d/postoffice")]
    for path in changed:
        path.write_text("changed")
    install(tmp_path, "/usr", "/etc")
    install(tmp_path, "/usr", "/etc", "uninstall")
    assert [path.read_text() for path in changed] == ["changed"] * 3
    assert not [path for path in (tmp_path / "usr").rglob("*") if not path.is_dir()]
    assert not (tmp_path / "etc/init.d/websocket-server").exists()


def test_an_install_over_the_first_version_serves_its_configuration(tmp_path):
    folder = tmp_path / "etc/postoffice"
    folder.mkdir(parents=True)
    (folder / "config-zhycit.json").write_text("{}")
    install(tmp_path, "/usr", "/etc")
    assert (folder / "config.json").read_text() == "{}"


def test_unit_and_init_script_have_one_pid_file_and_the_log_is_where_logrotate_looks(deb):
    for name in ("etc/init.d/websocket-server", "lib/systemd/system/postoffice.service"):
        assert "/run/postoffice/websocket-server.pid" in (deb / name).read_text()
    assert '"/var/log/postoffice/postoffice.log"' in (deb / "etc/postoffice/config.json").read_text()
