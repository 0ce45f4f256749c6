"""Prefect blocks that stand in for the auth file and the sensor URL, by their names.

A run is given names, never what is in the blocks: a key reaches neither a parameter nor a log.
`prefect block register -m flows.blocks` adds their forms to the pages of a Prefect server.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from prefect.blocks.core import Block
from pydantic import Field, ValidationError

from tasks.accounts import Account, FolderName, Secret
from tasks.errors import SettingsError
from tasks.redaction import foreign_text
from tasks.settings import Sensors, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

B = TypeVar("B", bound=Block)


class HaloAccount(Block):
    """A Halo account and the API key that reads its events, as in a line of the auth file.

    Attributes:
        account: Names the account's folders. Keep it when you rotate the key, and nothing is
            fetched anew.
        key_id: The id of the API key.
        secret: The secret of the API key.
    """

    _block_type_name: ClassVar[str | None] = "Halo Account"
    _block_type_slug: ClassVar[str | None] = "halo-account"

    account: FolderName = Field(
        description="Names the account's folders; keep it when the key is rotated."
    )
    key_id: FolderName = Field(description="The id of the Halo API key.")
    secret: Secret = Field(description="The secret of the Halo API key.")


class UsmSensor(Block):
    """Where events go: a sensor URL, as in USM_SENSOR.

    Attributes:
        url: The URL with its options. It may name files of the machine that runs the flow, such as
            that of a key; it holds no secret.
    """

    _block_type_name: ClassVar[str | None] = "USM Sensor"
    _block_type_slug: ClassVar[str | None] = "usm-sensor"

    url: str = Field(description="Such as tls://sensor.example.com:6514?ca=sensor-ca.pem")


def accounts_in_blocks(names: Sequence[str]) -> list[Account]:
    """The accounts of the `HaloAccount` blocks of these names.

    Raises:
        SettingsError: There is no such block, it cannot be used, or two name the same account.
    """
    accounts: dict[str, Account] = {}
    for name in names:
        block = _load(HaloAccount, name)
        account = Account(name=block.account, key_id=block.key_id, secret=block.secret)
        # two that differ in case only would share their folders where file names ignore case
        if accounts.setdefault(account.name.casefold(), account) is not account:
            raise SettingsError(
                f"accounts: the block {foreign_text(name)} has the account {account.name} of "
                "another block; leave one out, or give them different accounts"
            )
    return list(accounts.values())


def sensors_in_blocks(names: Sequence[str], settings: Settings, env_file: Path | None) -> Settings:
    """The settings with the URLs of the `UsmSensor` blocks of these names in USM_SENSOR's place.

    Relative paths in them start from the folder of the settings file.

    Raises:
        SettingsError: There is no such block.
    """
    urls = " ".join(_load(UsmSensor, name).url for name in names)
    folder = (env_file or Path(".env")).absolute().parent
    return settings.model_copy(update={"usm_sensor": Sensors(text=urls, folder=folder)})


def _load(kind: type[B], name: str) -> B:
    shown = foreign_text(name)
    try:
        return cast("B", kind.load(name))  # no coroutine: a flow runs in no event loop
    except RuntimeError as error:
        # the cause is not shown, because it may hold the secret
        faults = error.__cause__.errors() if isinstance(error.__cause__, ValidationError) else []
        fields = ", ".join(str(fault["loc"][0]) for fault in faults) or "fields"
        raise SettingsError(
            f"the block {shown} of type {kind.__name__} cannot be used: correct its {fields} on "
            "the page Blocks of the Prefect server"
        ) from None
    except ValueError:
        raise SettingsError(
            f"there is no block {shown} of type {kind.__name__} on this Prefect server: make it "
            f"on the page Blocks, or in Python: {kind.__name__}(…).save('{shown}')"
        ) from None
