"""What is wrong with a file of YAML, said without showing what is in it: it may be a secret."""

from __future__ import annotations

import yaml


def yaml_mistake(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Say what is wrong, and where.

    Parameters
    ----------
    error : yaml.YAMLError or UnicodeDecodeError
        What reading the file has raised. Its own text, and so a traceback with it as the cause,
        may show a line of the file.

    Examples
    --------
    >>> try:
    ...     yaml.safe_load("key: [wJalrXUtnFEMI")
    ... except yaml.YAMLError as error:
    ...     print(yaml_mistake(error))
    expected ',' or ']', but got '<stream end>' in line 1, column 20
    """
    match error:
        case yaml.MarkedYAMLError():
            mark = error.problem_mark or error.context_mark
            line = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
            return f"{error.problem or error.context}{line}"
        case UnicodeDecodeError():
            return f"{error.reason} at byte {error.start}, where text in UTF-8 should be"
    return type(error).__name__
