"""Networks by name."""

from __future__ import annotations

import pytest

from gridpact.chain.contract import checked_address
from gridpact.chain.estimate import GasBill, PlannedCall
from gridpact.chain.fees import GWEI, Fees
from gridpact.chain.profiles import PROFILES, RPC_URL, ChainProfile, profile_of
from gridpact.errors import InputError


def test_profiles_areToldApart() -> None:
    assert len({profile.name for profile in PROFILES}) == len(PROFILES)
    ids = [profile.chain_id for profile in PROFILES if profile.chain_id is not None]
    assert len(set(ids)) == len(ids)
    for profile in PROFILES:
        assert profile.token is None or checked_address(profile.token) == profile.token  # its checksum holds
        assert profile.patience >= 3 * profile.confirmations * profile.block_seconds
        assert not (profile.local and profile.explorer_api)


def test_check_namesTheOtherChain() -> None:
    profile_of("sepolia").check(11155111)
    profile_of("local").check(4711)
    with pytest.raises(
        InputError, match=r"sepolia is chain 11155111, but the node at --rpc is on chain 84532 \(that is"
    ):
        profile_of("sepolia").check(84532)


def test_url_isGivenByTheUser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RPC_URL, raising=False)
    assert profile_of("anvil").url(None) == "http://127.0.0.1:8545"
    with pytest.raises(InputError, match="needs the address of a node"):
        profile_of("sepolia").url(None)
    monkeypatch.setenv(RPC_URL, "https://127.0.0.1/with-a-secret")
    assert profile_of("sepolia").url(None).startswith("https://")
    with pytest.raises(InputError, match="begins with http"):
        profile_of("sepolia").url("ftp://127.0.0.1/with-a-secret")
    with pytest.raises(InputError, match="is on this machine") as caught:
        profile_of("anvil").url("https://chain.example/with-a-secret")
    assert "secret" not in str(caught.value)


def test_profileOf_listsTheNames() -> None:
    with pytest.raises(InputError, match="no network 'goerli': choose one of local, "):
        profile_of("goerli")


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_gas_hasAPriceOnlyWhereEtherHasOne(profile: ChainProfile) -> None:
    """A community's own chain and those of this machine have free ether: no bill in euro is shown for it."""
    free = profile.local or profile.name == "consortium"
    bill = GasBill((PlannedCall("open the round", 10**6, 100),), Fees(GWEI, GWEI, 4 * GWEI), (0,), 10**18, "0x00")
    told = bill.table(profile.eth_price_eur)
    assert ("EUR" not in told) == free
    assert ("6.00 EUR" in told) == (not free)  # a million gas at 2 gwei is 0.002 ETH
