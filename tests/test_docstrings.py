"""The meanings of settings, read from docstrings."""

from assl_jax.docstrings import meanings, sentence


class Base:
    """A base.

    Attributes:
      size: in pixels, over
        two lines.
      kept: as it is.
    """


class Derived(Base):
    """Derived.

    More words: not an entry.

    Attributes:
      own, other: two names.
      size, kept: as in `Base`.

    Raises:
      InputError: never.
    """


class Silent(Derived):
    pass


def function(*, path, kept, **settings):
    """Do it.

    Args:
      path: a file.
      kept: as in `Base`.
      **settings: the rest.

    Returns:
      path: not an argument.
    """


def test_fields_with_those_of_the_bases():
    assert meanings(Derived) == {
        "own": "two names.",
        "other": "two names.",
        "size": "in pixels, over two lines.",
        "kept": "as it is.",
    }
    assert meanings(Silent) == meanings(Derived)


def test_arguments_of_a_function():
    assert meanings(function) == {"path": "a file.", "kept": "as it is.", "settings": "the rest."}
    assert meanings(lambda: None) == {}


def test_the_first_paragraph_on_one_line():
    assert sentence("One\n    thing.\n\n    More.") == "One thing."
    assert sentence(None) == ""
