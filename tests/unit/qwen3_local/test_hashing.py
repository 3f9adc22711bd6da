"""Names of cached things follow their content and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from qwen3_local.digests import digest_files, source_files
from qwen3_local.image_plan import IMAGES, Image, of_tree, tagged_name, with_parents
from qwen3_local.layout import REPOSITORY


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with one image."""
    for name, content in {
        "Dockerfile": "FROM x",
        "lock.txt": "a==1",
        "src/app/__init__.py": "",
        "src/app/main.py": "print(1)",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


IMAGE = Image("app", "Dockerfile", ("lock.txt", "src/app"))


def name(tree: Path, image: Image = IMAGE, base: str = "base:1") -> str:
    return tagged_name(image, tree, base)


def test_order_and_times_do_not_matter(tree: Path) -> None:
    files = source_files(tree)
    before = digest_files(files, tree)
    (tree / "lock.txt").touch()
    assert digest_files(reversed(files), tree) == before


@pytest.mark.parametrize("changed", ["Dockerfile", "lock.txt", "src/app/main.py"])
def test_changed_input_changes_the_tag(tree: Path, changed: str) -> None:
    before = name(tree)
    (tree / changed).write_text("other")
    assert name(tree) != before


def test_moved_content_changes_the_tag(tree: Path) -> None:
    before = name(tree)
    (tree / "src/app/main.py").rename(tree / "src/app/other.py")
    assert name(tree) != before


def test_byte_code_and_hidden_files_are_no_input(tree: Path) -> None:
    before = name(tree)
    cache = tree / "src/app/__pycache__"
    cache.mkdir()
    (cache / "main.cpython-311.pyc").write_bytes(b"x")
    (tree / "src/app/.swp").write_text("x")
    assert name(tree) == before


def test_base_and_arguments_change_the_tag(tree: Path) -> None:
    other = Image("app", "Dockerfile", ("lock.txt", "src/app"), arguments={"A": "1"})
    assert len({name(tree), name(tree, base="base:2"), name(tree, other)}) == 3


def test_missing_input_is_named(tree: Path) -> None:
    with pytest.raises(FileNotFoundError, match="image app: no gone"):
        name(tree, Image("app", "Dockerfile", ("gone",)))


def test_an_older_tree_has_the_inputs_that_it_has(tree: Path) -> None:
    """The operator's image of a commit from before a package was split off."""
    grown = replace(IMAGE, inputs=(*IMAGE.inputs, "later/src"))
    assert of_tree(grown, tree) == IMAGE
    assert tagged_name(of_tree(grown, tree), tree, "base") == tagged_name(IMAGE, tree, "base")


def test_hidden_checkout_still_has_sources(tree: Path) -> None:
    hidden = tree / ".work" / "checkout"
    hidden.mkdir(parents=True)
    (hidden / "a.py").write_text("")
    assert source_files(hidden) == [hidden / "a.py"]


def test_parents_come_first_and_once() -> None:
    assert [image.name for image in with_parents(("server", "trainer", "operator"))] == [
        "ml-base",
        "server",
        "trainer",
        "operator",
    ]


def test_unknown_image_is_refused() -> None:
    with pytest.raises(KeyError):
        with_parents(("trainr",))


@pytest.mark.parametrize("image", IMAGES.values(), ids=lambda image: image.name)
def test_every_declared_input_exists_and_is_copied(image: Image) -> None:
    """The tag must follow every COPY and bind mount of the Dockerfile."""
    text = (REPOSITORY / image.dockerfile).read_text()
    for key, value in image.arguments.items():
        text = text.replace(f"${{{key}}}", value)
    for declared in image.inputs:
        assert (REPOSITORY / declared).exists(), declared
        assert declared in text, declared
    copied = [
        line.split()[1]
        for line in text.splitlines()
        if line.startswith("COPY ") and "--from=" not in line
    ]
    assert set(copied) <= set(image.inputs)
