"""What the site says of the project: title, authors, licence, address; all of it from CITATION.cff."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from r21d_lib.errors import SettingsError

# Where notebooks of a public repository can be opened, by its host: {path} is OWNER/NAME.
_OPENERS = {
    "github.com": {
        "Colab": "https://colab.research.google.com/github/{path}/blob/HEAD/{file}",
        "Binder": "https://mybinder.org/v2/gh/{path}/HEAD?labpath={file}",
    },
    "gitlab.com": {"Binder": "https://mybinder.org/v2/gl/{path}/HEAD?labpath={file}"},
}


@dataclass(frozen=True)
class About:
    """The project, as its citation file describes it.

    Attributes:
        title: of the project.
        authors: their names.
        licence: its SPDX name.
        repository: the public address, "" where none is known; nothing is then linked to it.
        paper: title, year and url of the paper that is explained.
    """

    title: str
    authors: tuple[str, ...]
    licence: str
    repository: str
    paper: Mapping[str, Any]

    def openers(self, file: str) -> dict[str, str]:
        """Return where a notebook can be opened: a service's name to an address.

        Args:
            file: relative to the repository's root.
        """
        address = urlsplit(self.repository)
        path = address.path.strip("/").removesuffix(".git")
        services = _OPENERS.get(address.hostname or "", {})
        return {name: form.format(path=path, file=file) for name, form in services.items()}

    def source(self, file: str) -> str | None:
        """Return the address of a file of the repository, None where the repository has none."""
        return f"{self.repository.removesuffix('.git')}/blob/HEAD/{file}" if self.repository else None


def read(citation: Path) -> About:
    """Read a CITATION.cff; the repository's address is its `repository-code`.

    Raises:
        SettingsError: if the file is missing, damaged or lacks one of the fields.
    """
    import yaml

    try:
        content = yaml.safe_load(citation.read_text(encoding="utf-8"))
        paper = content["preferred-citation"]
        return About(
            content["title"],
            tuple(_name(author) for author in content["authors"]),
            content["license"],
            str(content.get("repository-code", "")).rstrip("/"),
            {key: paper[key] for key in ("title", "year", "url")},
        )
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise SettingsError(
            f"{citation} cannot be read as a citation ({error}): restore it from git"
        ) from error


def _name(author: Mapping[str, str]) -> str:
    return author.get("name") or f"{author.get('given-names', '')} {author['family-names']}".strip()
